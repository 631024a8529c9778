//! The first flight of a batch, and the rarer ones after it: locks, and what is known under them. The statements of a
//! flight are sent together, each kind in the order of the partitions, so that every worker locks members in the order
//! of partition and id. The first flight, which every batch makes, is one statement of a kind.

mod accounts;

use std::collections::{HashMap, HashSet};

use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use futures_util::try_join;
use loyalty_common::{CommandId, MemberId};
use loyalty_ledger::contact::{Contact, ContactKey, ContactPart, ContactSeed};
use loyalty_ledger::{
    BatchRequest, CommandContent, CommandKey, Member, MemberStatus, PartitionRequest, View, WaitingCommand,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};
use uuid::Uuid;

use crate::ledger_row;
use crate::member_row::member_state;
use crate::partition::{Named, number, partition};
use crate::pool::StoreError;

/// What to do about a member whose row another session holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Wait,
    /// Leave the member out.
    SkipLocked,
}

impl Lock {
    const fn of_one(self) -> &'static str {
        match self {
            Self::Wait => LOCK,
            Self::SkipLocked => LOCK_FREE,
        }
    }

    const fn of_each(self) -> &'static str {
        match self {
            Self::Wait => LOCK_EACH,
            Self::SkipLocked => LOCK_FREE_EACH,
        }
    }
}

const NOW: &str = "select now()";

macro_rules! lock {
    ($members:literal, $when_held:literal) => {
        concat!(
            "select m.member_id, status, epoch, milestone, balance, held, debt, lifetime, peak, as_of, due_at, last_seq,
                    email is not null as has_email, name is not null as has_name, contact_key, enrolled_at
             from ",
            $members,
            " order by m.partition, m.member_id for update of m ",
            $when_held
        )
    };
}

macro_rules! of_one {
    ($when_held:literal) => {
        lock!("member as m where m.partition = $1 and m.member_id = any($2)", $when_held)
    };
}

macro_rules! of_each {
    ($when_held:literal) => {
        lock!(
            "(select unnest($1::smallint[]) as partition, unnest($2::text[]) as member_id) as k
             join member as m on m.partition = k.partition and m.member_id = k.member_id",
            $when_held
        )
    };
}

const LOCK: &str = of_one!("");
const LOCK_FREE: &str = of_one!("skip locked");
const LOCK_EACH: &str = of_each!("");
const LOCK_FREE_EACH: &str = of_each!("skip locked");

macro_rules! known {
    ($partition:literal, $keys:literal) => {
        concat!(
            "select k.member_id, k.command_id, l.type, l.points, l.target_id, l.expires_at, l.counts, l.number, l.reason,
                    l.source_ref, l.email_hmac, l.name_hmac
             from (select ", $keys, "unnest($2::text[]) as member_id, unnest($3::uuid[]) as command_id) as k
             cross join lateral (
                 select * from ledger where ledger.partition = ", $partition, " and ledger.member_id = k.member_id
                   and ledger.command_id = k.command_id limit 1) as l"
        )
    };
}

const KNOWN: &str = known!("$1", "");
const KNOWN_EACH: &str = known!("k.partition", "unnest($1::smallint[]) as partition, ");

/// Somebody whose row is there is not even tried: where another transaction is changing that row, the conflict would
/// have to wait for its end.
const INTRODUCE: &str = "
    insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, updated_at)
    select $1::smallint, id, 'unenrolled', 0, 0, 0, 0, now() from unnest($2::text[]) as u (id)
    where not exists (select from member where partition = $1 and member_id = id) order by id collate \"C\"
    on conflict do nothing";

const PARKED: &str = "
    select member_id, command_id, case when member_id = any($3) or command_id = any($4) then body end as body
    from parked where partition = $1 and member_id = any($2) order by parked_id";

/// Begins the transaction, locks the members and reads what the request needs.
pub(super) async fn view(client: &Object, lock: Lock, request: &BatchRequest<'_>) -> Result<View, StoreError> {
    let partitions: Vec<_> = request.partitions.iter().map(|(partition, it)| (number(*partition), it)).collect();
    let (members, commands) = (Keys::of_members(&partitions), Keys::of_commands(&partitions));
    let (now, locking, known) = try_join!(
        client.prepare_cached(NOW),
        client.prepare_cached(members.partitions.form(lock.of_one(), lock.of_each())),
        client.prepare_cached(commands.partitions.form(KNOWN, KNOWN_EACH)),
    )?;
    // One flight: each future sends when it is first polled, in this order.
    let ((), now, locked, known) = try_join!(
        client.batch_execute("begin"),
        client.query_one(&now, &[]),
        locked(client, &locking, members.partitions.parameter(), &members.members),
        known_commands(client, &known, commands.partitions.parameter(), &commands.members, &commands.ids),
    )?;
    let mut view = View {
        now: now.get(0),
        seed: draw_seed()?,
        members: HashMap::new(),
        known: HashMap::new(),
        parked: HashMap::new(),
        lots: HashMap::new(),
        holds: HashMap::new(),
        targets: HashMap::new(),
        redeemed: HashSet::new(),
    };
    add_members(&mut view, &[locked])?;
    add_known(&mut view, &[known])?;
    introduce(client, lock, &partitions, &mut view).await?;
    accounts::read(client, &partitions, &mut view).await?;
    Ok(view)
}

/// Begins the transaction and locks one member, who gets a row if there is none.
pub(super) async fn member(client: &Object, member_id: &MemberId) -> Result<Member, StoreError> {
    let (introduce, locking) = try_join!(client.prepare_cached(INTRODUCE), client.prepare_cached(LOCK))?;
    let (partition, members) = (partition(member_id), [member_id.as_str()]);
    let ((), _, locked) = try_join!(
        client.batch_execute("begin"),
        introduced(client, &introduce, partition, &members),
        locked(client, &locking, &partition, &members),
    )?;
    let row = locked.first().ok_or(StoreError::UnexpectedValue { column: "member.member_id" })?;
    member_row(row)
}

/// What a partition needs of the second flight.
struct Unenrolled<'a> {
    partition: i16,
    /// Who is not enrolled, as far as can be seen: what waits for them is read.
    waiting: Vec<&'a str>,
    /// Those of them who have no row yet.
    missing: Vec<&'a str>,
    /// The commands about these.
    key_members: Vec<&'a str>,
    key_commands: Vec<Uuid>,
    /// The commands of the partition, whose bodies are read if they wait.
    named: Vec<Uuid>,
    /// The members of whom all bodies are read.
    parked_of: &'a [&'a str],
}

impl<'a> Unenrolled<'a> {
    /// None, if everybody is a member or was one.
    fn of(partition: i16, request: &'a PartitionRequest<'a>, view: &View) -> Option<Self> {
        let status = |member: &str| view.members.get(member).map(|member| member.state.status);
        let not_enrolled = |member: &&str| status(member).is_none_or(|it| it == MemberStatus::Unenrolled);
        let is_missing = |member: &str| status(member).is_none();
        let waiting: Vec<&str> = request.members.iter().copied().filter(not_enrolled).collect();
        if waiting.is_empty() {
            return None;
        }
        let keys = || request.key_members.iter().copied().zip(request.key_commands.iter().map(|it| it.uuid()));
        let (key_members, key_commands) = keys().filter(|(member, _)| is_missing(member)).unzip();
        Some(Self {
            partition,
            missing: waiting.iter().copied().filter(|member| is_missing(member)).collect(),
            waiting,
            key_members,
            key_commands,
            named: keys().map(|(_, command)| command).collect(),
            parked_of: &request.parked_of,
        })
    }
}

/// The rarer second flight: gives the unknown a row to lock, and reads what waits for those not enrolled. Who is
/// held looks unknown at first, gets no row, and is not locked here either.
async fn introduce(
    client: &Object,
    lock: Lock,
    partitions: &[(i16, &PartitionRequest<'_>)],
    view: &mut View,
) -> Result<(), StoreError> {
    let unenrolled: Vec<_> =
        partitions.iter().filter_map(|(partition, request)| Unenrolled::of(*partition, request, view)).collect();
    if unenrolled.is_empty() {
        return Ok(());
    }
    let (introduce, locking, known, parked) = try_join!(
        client.prepare_cached(INTRODUCE),
        client.prepare_cached(lock.of_one()),
        client.prepare_cached(KNOWN),
        client.prepare_cached(PARKED),
    )?;
    let missing = || unenrolled.iter().filter(|it| !it.missing.is_empty());
    let (_, locked, known, parked) = try_join!(
        try_join_all(missing().map(|it| introduced(client, &introduce, it.partition, &it.missing))),
        try_join_all(missing().map(|it| locked(client, &locking, &it.partition, &it.missing))),
        // Another transaction may have introduced them first, and we waited for it here: what it wrote of their
        // commands was not to be seen in the first flight.
        try_join_all(missing().map(|it| known_commands(
            client,
            &known,
            &it.partition,
            &it.key_members,
            &it.key_commands
        )),),
        try_join_all(unenrolled.iter().map(|it| waiting(client, &parked, it))),
    )?;
    add_members(view, &locked)?;
    add_known(view, &known)?;
    for row in parked.iter().flatten() {
        let key = key(row)?;
        view.parked.entry(key.0.clone()).or_default().push(WaitingCommand { key, body: row.get("body") });
    }
    Ok(())
}

/// What the statements of the first flight are about.
struct Keys<'a> {
    partitions: Named,
    members: Vec<&'a str>,
    ids: Vec<Uuid>,
}

impl<'a> Keys<'a> {
    fn of_members(partitions: &[(i16, &'a PartitionRequest<'a>)]) -> Self {
        let members =
            partitions.iter().flat_map(|(partition, it)| it.members.iter().map(|member| (*partition, *member)));
        let (partitions, members): (Vec<i16>, Vec<&str>) = members.unzip();
        Self { partitions: Named::of(partitions), members, ids: Vec::new() }
    }

    fn of_commands(partitions: &[(i16, &'a PartitionRequest<'a>)]) -> Self {
        let members =
            partitions.iter().flat_map(|(partition, it)| it.key_members.iter().map(|member| (*partition, *member)));
        let (named, members): (Vec<i16>, Vec<&str>) = members.unzip();
        let ids = partitions.iter().flat_map(|(_, it)| it.key_commands.iter().map(|id| id.uuid())).collect();
        Self { partitions: Named::of(named), members, ids }
    }
}

/// How a statement is told of its partition, or of that of each row.
type Partitions<'a> = &'a (dyn ToSql + Sync);

async fn locked(
    client: &Object,
    lock: &Statement,
    partitions: Partitions<'_>,
    members: &[&str],
) -> Result<Vec<Row>, Error> {
    client.query(lock, &[partitions, &members]).await
}

async fn introduced(client: &Object, introduce: &Statement, partition: i16, members: &[&str]) -> Result<u64, Error> {
    client.execute(introduce, &[&partition, &members]).await
}

async fn known_commands(
    client: &Object,
    known: &Statement,
    partitions: Partitions<'_>,
    members: &[&str],
    ids: &[Uuid],
) -> Result<Vec<Row>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    client.query(known, &[partitions, &members, &ids]).await
}

async fn waiting(client: &Object, parked: &Statement, of: &Unenrolled<'_>) -> Result<Vec<Row>, Error> {
    client.query(parked, &[&of.partition, &of.waiting, &of.parked_of, &of.named]).await
}

fn add_members(view: &mut View, locked: &[Vec<Row>]) -> Result<(), StoreError> {
    for row in locked.iter().flatten() {
        let member = member_row(row)?;
        view.members.insert(member.member_id.clone(), member);
    }
    Ok(())
}

fn add_known(view: &mut View, known: &[Vec<Row>]) -> Result<(), StoreError> {
    for row in known.iter().flatten() {
        let (key, content) = known_command(row)?;
        view.known.insert(key, content);
    }
    Ok(())
}

fn draw_seed() -> Result<ContactSeed, StoreError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(StoreError::Randomness)?;
    Ok(ContactSeed::of(seed))
}

fn member_row(row: &Row) -> Result<Member, StoreError> {
    Ok(Member {
        member_id: member_id(row)?,
        state: member_state(row)?,
        last_seq: row.get("last_seq"),
        contact: contact(row),
        enrolled_at: row.get("enrolled_at"),
        due_at: row.get("due_at"),
    })
}

fn contact(row: &Row) -> Contact {
    let held = |is_there: &str| if row.get(is_there) { ContactPart::Stored } else { ContactPart::Nothing };
    Contact { email: held("has_email"), name: held("has_name"), key: ContactKey::from_row(row.get("contact_key")) }
}

fn known_command(row: &Row) -> Result<(CommandKey, CommandContent), StoreError> {
    // Without a key: whoever compares it has the member's row.
    Ok((key(row)?, ledger_row::content(row, None)?))
}

fn key(row: &Row) -> Result<CommandKey, StoreError> {
    Ok((member_id(row)?, CommandId::from(row.get::<_, Uuid>("command_id"))))
}

fn member_id(row: &Row) -> Result<MemberId, StoreError> {
    MemberId::parse(row.get("member_id")).map_err(|_| StoreError::UnexpectedValue { column: "member_id" })
}
