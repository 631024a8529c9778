//! Reads a file in chunks, on a thread of its own: usable rows become commands, each new member is enrolled first.
//!
//! Bounded memory whatever the file's size: a few chunks, eight bytes a row, and the ids of the members.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use loyalty_common::{Action, Command, CommandId, EmailAddress, MemberId};
use tokio::sync::mpsc;

use super::row_ids::RowIds;
use super::rows::{Problem, ReadError, Row, Rows, Sighting};

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
    /// Rows that cannot be used.
    pub(super) skipped: Vec<Problem>,
    /// Rows that were used, though not quite as they stand.
    pub(super) remarks: Vec<Problem>,
    /// Rows that say what an earlier one said, under the same id.
    pub(super) repeated: u64,
    /// How far into the file it reaches, in bytes.
    pub(super) bytes: u64,
}

/// A command and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) line: u64,
    pub(super) command: Command,
    /// Whether it enrols a member who was seen for the first time, rather than being a row.
    pub(super) enrols: bool,
}

/// Reads a file.
#[derive(Debug)]
pub(super) struct Reader {
    rows: Rows,
    ids: RowIds,
    /// The members seen, if they are to be enrolled.
    members: Option<std::collections::HashSet<MemberId>>,
    /// What the rows said that have an id of their own: a digest of the id, and one of the content.
    keyed: HashMap<u64, u64>,
}

impl Reader {
    pub(super) fn new(rows: Rows, name: &str, enrol: bool) -> Self {
        Self { rows, ids: RowIds::new(name), members: enrol.then(Default::default), keyed: HashMap::new() }
    }

    /// Starts reading. The channel ends with the file, or with an error, or when nobody listens any more.
    pub(super) fn start(mut self) -> mpsc::Receiver<Result<Chunk, ReadError>> {
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

    pub(super) fn chunk(&mut self) -> Result<Option<Chunk>, ReadError> {
        let mut chunk = Chunk::default();
        while chunk.rows < CHUNK_ROWS {
            let Some(row) = self.rows.next(&mut self.ids)? else { break };
            chunk.rows += 1;
            self.take(row, &mut chunk);
        }
        chunk.bytes = self.rows.bytes();
        Ok((chunk.rows > 0).then_some(chunk))
    }

    fn take(&mut self, row: Row, chunk: &mut Chunk) {
        let line = row.line;
        if let Some(sighting) = row.sighting {
            let enrols_itself =
                row.command.as_ref().is_ok_and(|command| matches!(command.action, Action::Enroll { .. }));
            self.see(line, sighting, enrols_itself, chunk);
        }
        match row.command {
            Err(text) => chunk.skipped.push(Problem { line, text }),
            Ok(command) if row.keyed => match self.earlier(&command) {
                Earlier::None => chunk.items.push(Item { line, command, enrols: false }),
                Earlier::Same => chunk.repeated += 1,
                Earlier::Other => chunk.skipped.push(Problem {
                    line,
                    text: "its id stands on an earlier line of this file, with other content".to_owned(),
                }),
            },
            Ok(command) => chunk.items.push(Item { line, command, enrols: false }),
        }
    }

    /// At first sight of a member, an enrolment goes ahead of what the row asks.
    fn see(&mut self, line: u64, sighting: Sighting, enrols_itself: bool, chunk: &mut Chunk) {
        let Some(members) = &mut self.members else { return };
        if !members.insert(sighting.member_id.clone()) || enrols_itself {
            return;
        }
        let address = sighting.address.filter(|address| !address.is_empty());
        let email = address.as_deref().map(EmailAddress::parse).transpose().unwrap_or_else(|_| {
            // Without the enrolment all points of the member would wait; an address can be given later.
            let text = "the address is not valid; the member is enrolled without one".to_owned();
            chunk.remarks.push(Problem { line, text });
            None
        });
        let command = Command {
            command_id: self.ids.of_enrolment(&sighting.member_id),
            member_id: sighting.member_id,
            occurred_at: sighting.occurred_at,
            reason: None,
            source_ref: None,
            action: Action::Enroll { email, name: None },
        };
        chunk.items.push(Item { line, command, enrols: true });
    }

    fn earlier(&mut self, command: &Command) -> Earlier {
        let content = digest(&content(command));
        match self.keyed.entry(digest(&(&command.member_id, command.command_id))) {
            Entry::Vacant(place) => {
                place.insert(content);
                Earlier::None
            }
            Entry::Occupied(known) if *known.get() == content => Earlier::Same,
            Entry::Occupied(_) => Earlier::Other,
        }
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

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// For messages that name a command.
pub(super) fn key(item: &Item) -> (MemberId, CommandId) {
    (item.command.member_id.clone(), item.command.command_id)
}
