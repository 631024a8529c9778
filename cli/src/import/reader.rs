//! Reads a file in chunks, on a thread of its own: usable rows become commands, each new member is enrolled first.
//!
//! Bounded memory whatever the file's size: a few chunks, some bytes a row, the ids of the members, and the addresses
//! of those whose first row has none.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use csv::ByteRecord;
use jiff::Timestamp;
use loyalty_common::command::CLOCK_AHEAD_MAX;
use loyalty_common::{Action, Command, CommandId, EmailAddress, Enroll, MemberId, Points, RefusalCode};
use tokio::sync::mpsc;

use super::addresses::Addresses;
use super::row::{MemberRef, Problem, ProblemKind, Row, Unusable};
use super::row_ids::RowIds;
use super::rows::Rows;
use super::suspicious_ids::SuspiciousIds;

/// Rows read at once: each chunk costs two questions to the database, which a thousand rows share.
const CHUNK_ROWS: u64 = 1_000;

/// Chunks read ahead of the publishing: one ready while the next is being read.
const CHUNKS_AHEAD: usize = 2;

/// Some rows of the file, as far as they can be used.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Rows in it, usable or not.
    pub(super) rows: u64,
    /// What they ask for, in their order.
    pub(super) items: Vec<Item>,
    /// Rows that are not used.
    pub(super) skipped: Vec<Problem>,
    /// Of those, the ones whose amount is worth no point: nothing is wrong with them.
    pub(super) too_small: u64,
    /// Rows that were used, though not quite as they stand.
    pub(super) remarks: Vec<Problem>,
    /// Rows that will be refused, if those above them are applied. They are used all the same: the worker decides.
    pub(super) foreseen: Vec<Problem>,
    /// Rows that say what an earlier one said, under the same id.
    pub(super) repeated: u64,
    /// How far into the file it reaches, in bytes.
    pub(super) bytes: u64,
    /// Of the last chunk: what is strange about the file as a whole.
    pub(super) warnings: Vec<String>,
}

/// A command and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) line: u64,
    pub(super) command: Command,
    /// Whether it enrols a member who was seen for the first time, rather than being a row.
    pub(super) enrols: bool,
    /// The row as it stands in the file, if somebody wants those that are refused.
    pub(super) source: Option<ByteRecord>,
}

impl Item {
    /// What it means that this is not applied. An enrolment that a row only brought along is no row: if its member
    /// cannot be enrolled, that shows at the row itself.
    pub(super) const fn fault(&self) -> ProblemKind {
        if self.enrols { ProblemKind::Note } else { ProblemKind::Fault }
    }
}

/// What a reader is told besides the file.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The import's name.
    pub(super) name: &'a str,
    /// Whether members are enrolled at first sight.
    pub(super) enrol: bool,
    /// Whether rows are kept with their commands.
    pub(super) sources: bool,
    /// The time by the clock that decides what is ahead of it.
    pub(super) now: Timestamp,
    /// Addresses of members whose first row has none.
    pub(super) addresses: Addresses,
}

/// A row that has an id of its own.
#[derive(Debug)]
struct Keyed {
    /// A digest of what it says.
    content: u64,
    /// Its points, less what the rows below it return of them. None: it names no points.
    left: Option<i64>,
}

/// Reads a file.
#[derive(Debug)]
pub(super) struct Reader {
    rows: Rows,
    ids: RowIds,
    /// The members seen, if they are to be enrolled.
    members: Option<HashSet<MemberId>>,
    addresses: Addresses,
    /// The rows that have an id of their own, by a digest of it.
    keyed: HashMap<u64, Keyed>,
    /// What rows are about, such as what they return: a digest of its id, and the first line that names it.
    named: HashMap<u64, u64>,
    suspicious: SuspiciousIds,
    sources: bool,
    /// What happened later than this has not happened yet.
    latest: Timestamp,
    ended: bool,
}

impl Reader {
    pub(super) fn new(mut rows: Rows, wanted: Wanted<'_>) -> Self {
        let Wanted { name, enrol, sources, now, addresses } = wanted;
        rows.set_imported_at(now);
        Self {
            rows,
            ids: RowIds::new(name),
            members: enrol.then(HashSet::new),
            addresses,
            keyed: HashMap::new(),
            named: HashMap::new(),
            suspicious: SuspiciousIds::default(),
            sources,
            latest: now.saturating_add(CLOCK_AHEAD_MAX).expect("minutes are no calendar units"),
            ended: false,
        }
    }

    /// Starts reading. The channel ends with the file, or with an error, or when nobody listens any more.
    pub(super) fn start(mut self) -> mpsc::Receiver<io::Result<Chunk>> {
        let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::task::spawn_blocking(move || {
            while let Some(chunk) = self.chunk().transpose() {
                let last = chunk.is_err();
                if chunks.blocking_send(chunk).is_err() || last {
                    break;
                }
            }
        });
        receiver
    }

    pub(super) fn chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        while chunk.rows < CHUNK_ROWS && !self.ended {
            if let Some(row) = self.rows.next(&mut self.ids)? {
                chunk.rows += 1;
                self.take(row, &mut chunk);
            } else {
                self.ended = true;
                chunk.warnings = self.suspicious.warnings();
            }
        }
        chunk.bytes = self.rows.bytes();
        Ok((chunk.rows > 0 || !chunk.warnings.is_empty()).then_some(chunk))
    }

    fn take(&mut self, row: Row, chunk: &mut Chunk) {
        let Row { line, member, command, keyed, source } = row;
        if member.as_ref().is_some_and(|member| member.occurred_at > self.latest) {
            let text =
                "the time is ahead of the clock: import it again once it has come (--zone says whose time it is)";
            return chunk.skip(line, Unusable::Fault(text.to_owned()), source);
        }
        if let Some(member) = member {
            self.suspicious.see(line, member.member_id.as_str());
            let enrols_itself = command.as_ref().is_ok_and(|command| matches!(command.action, Action::Enroll(_)));
            self.see(line, member, enrols_itself, chunk);
        }
        let command = match command {
            Ok(command) => command,
            Err(why) => return chunk.skip(line, why, source),
        };
        match if keyed { self.earlier(&command) } else { Earlier::None } {
            Earlier::None => {
                self.look_at_order(line, &command, chunk);
                if let Some(code) = self.refusal(&command) {
                    let text = format!("would be refused: {code}: {}", code.message());
                    let source = self.sources.then(|| source.clone());
                    chunk.foreseen.push(Problem { line, kind: ProblemKind::Fault, text, source });
                }
                chunk.items.push(Item { line, command, enrols: false, source: self.sources.then_some(source) });
            }
            Earlier::Same => chunk.repeated += 1,
            Earlier::Other => {
                let text = "its id stands on an earlier line of this file, with other content";
                chunk.skip(line, Unusable::Fault(text.to_owned()), source);
            }
        }
    }

    /// At first sight of a member, an enrolment goes ahead of what the row asks.
    fn see(&mut self, line: u64, member: MemberRef, enrols_itself: bool, chunk: &mut Chunk) {
        let Some(members) = &mut self.members else { return };
        if !members.insert(member.member_id.clone()) || enrols_itself {
            return;
        }
        let email = self.address(line, &member, chunk);
        let command = Command {
            command_id: self.ids.of_enrolment(&member.member_id),
            member_id: member.member_id,
            occurred_at: member.occurred_at,
            reason: None,
            source_ref: None,
            action: Action::Enroll(Enroll { email, name: None }),
        };
        chunk.items.push(Item { line, command, enrols: true, source: None });
    }

    /// The address to enrol a member with: that of this row, or else the first one further down.
    fn address(&self, line: u64, member: &MemberRef, chunk: &mut Chunk) -> Option<EmailAddress> {
        let address = member.address.as_deref()?;
        let valid = EmailAddress::parse(address).ok().or_else(|| self.addresses.of(&member.member_id));
        if valid.is_none() {
            // Without the enrolment all points of the member would wait; an address can be given later.
            let what = if address.is_empty() { "there is no address" } else { "the address is not valid" };
            let text = format!("{what}; the member is enrolled without one");
            chunk.remarks.push(Problem { line, kind: ProblemKind::Note, text, source: None });
        }
        valid
    }

    /// A row that another one is about must come before it, or that one is refused for good: rows are applied in the
    /// order of the file.
    fn look_at_order(&mut self, line: u64, command: &Command, chunk: &mut Chunk) {
        if let Some(above) = self.named.get(&id_digest(command, command.command_id)) {
            let text = format!("line {above} is about this row and stands above it; sort the file by time");
            chunk.remarks.push(Problem { line, kind: ProblemKind::Note, text, source: None });
        }
        if let Some(target) = command.action.target() {
            self.named.entry(id_digest(command, target)).or_insert(line);
        }
    }

    /// Why a return will be refused, as far as the rows above it tell: whether what it returns is in the database, or
    /// other returns of it are, they do not.
    fn refusal(&mut self, command: &Command) -> Option<RefusalCode> {
        let Action::Reverse(reverse) = &command.action else { return None };
        let left = self.keyed.get_mut(&id_digest(command, reverse.target))?.left.as_mut()?;
        let points = reverse.points.map_or(*left, Points::get);
        match *left {
            0 => Some(RefusalCode::AlreadyReversed),
            some if points > some => Some(RefusalCode::MoreThanLeft),
            some => {
                *left = some - points;
                None
            }
        }
    }

    fn earlier(&mut self, command: &Command) -> Earlier {
        let content = digest(&content(command));
        match self.keyed.entry(id_digest(command, command.command_id)) {
            Entry::Vacant(place) => {
                place.insert(Keyed { content, left: command.action.points().map(i64::abs) });
                Earlier::None
            }
            Entry::Occupied(known) if known.get().content == content => Earlier::Same,
            Entry::Occupied(_) => Earlier::Other,
        }
    }
}

impl Chunk {
    fn skip(&mut self, line: u64, why: Unusable, source: ByteRecord) {
        self.too_small += u64::from(matches!(why, Unusable::TooSmall(_)));
        self.skipped.push(Problem::of_unusable(line, why, source));
    }
}

/// Whether an earlier row had the same id.
enum Earlier {
    None,
    /// And the same content.
    Same,
    /// And other content.
    Other,
}

/// What two commands of one id must have in common to be the same: everything but the time, as in the ledger.
fn content(command: &Command) -> Vec<u8> {
    Command { occurred_at: Timestamp::UNIX_EPOCH, ..command.clone() }.encode()
}

fn id_digest(command: &Command, id: CommandId) -> u64 {
    digest(&(&command.member_id, id))
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// For messages that name a command.
pub(super) fn key(item: &Item) -> (MemberId, CommandId) {
    (item.command.member_id.clone(), item.command.command_id)
}
