//! The one place where balances change: a transaction that locks the members of a batch, shows what is known of them,
//! and writes what the rules decided.
//!
//! Two round trips in the usual case: everything before the decision is sent in one flight, everything after it, the
//! commit included, in another. A batch that is dropped without [`Batch::commit`] changes nothing.

use std::collections::{BTreeSet, HashMap};

use deadpool_postgres::Client;
use futures_util::try_join;
use jiff::Timestamp;
use loyalty_common::{CommandId, Event, MemberId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::contact::{Contact, ContactKey, ContactSeed, Held};
use crate::dead_letter::NewDeadLetter;
use crate::partition::partition;
use crate::pool::{Pool, StoreError};
use crate::rows::{Account, Content, Key, LedgerRow, MemberStatus, ParkedCommand, RewardRow, Standing};
use crate::transaction::Transaction;

mod write;

/// An open transaction that holds the locks of its members.
#[derive(Debug)]
pub struct Batch(Transaction);

/// What the database knows of a batch's members and commands, frozen by the locks.
#[derive(Debug)]
pub struct View {
    /// The database's clock.
    pub now: Timestamp,
    /// What new keys of contacts are made of.
    pub seed: ContactSeed,
    /// Every member of the batch; somebody unknown has a fresh row. [`Batch::open_free`] leaves out who is held.
    pub accounts: HashMap<MemberId, Account>,
    /// The commands of the batch that are in the ledger already.
    pub known: HashMap<Key, Content>,
    /// What waits for the members that are not enrolled, in the order of its arrival.
    pub parked: HashMap<MemberId, Vec<Waiting>>,
}

/// A command that waits for its member's enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub key: Key,
    /// As it came. Only read where it is looked at: of members whom the batch enrols, and of commands that it names.
    /// The others count, and there can be many of them.
    pub body: Option<Vec<u8>>,
}

/// What the rules decided.
#[derive(Debug, Default)]
pub struct Changes {
    /// Members of whom only the points and the last seq are new.
    pub moved: Vec<Account>,
    /// Members of whom anything may be new. None stands in both lists.
    pub accounts: Vec<Account>,
    /// New rows of the ledger.
    pub ledger: Vec<LedgerRow>,
    /// Rewards earned, each with its mail.
    pub rewards: Vec<RewardRow>,
    /// Memberships that have ended: their mails that are not sent yet go to nobody.
    pub ended: Vec<(MemberId, i32)>,
    /// Commands that wait for an enrolment from now on.
    pub parked: Vec<ParkedCommand>,
    /// Commands that waited and do no longer.
    pub released: Vec<Key>,
    /// Messages set aside.
    pub dead_letters: Vec<NewDeadLetter>,
    /// What listeners are told, if events are switched on; those of a member in the order in which they happened.
    pub events: Vec<Event>,
}

const NOW: &str = "select now()";

macro_rules! lock {
    ($when_held:literal) => {
        concat!(
            "select member_id, status, epoch, milestone, balance, lifetime, last_seq, email is not null as has_email,
                    name is not null as has_name, contact_key, enrolled_at
             from member where member_id = any($1) and partition = any($2) order by partition, member_id for update ",
            $when_held
        )
    };
}

/// Waits for who is held.
const LOCK: &str = lock!("");

/// Waits for nobody: who is held does not come back.
const LOCK_FREE: &str = lock!("skip locked");

const KNOWN: &str = "
    select k.member_id, k.command_id, l.type, l.points, l.reason, l.source_ref, l.email_hmac, l.name_hmac
    from (select unnest($3::smallint[]) as partition, unnest($1::text[]) as member_id, unnest($2::uuid[]) as command_id) as k
    cross join lateral (
        select * from ledger where ledger.partition = k.partition and ledger.member_id = k.member_id
          and ledger.command_id = k.command_id limit 1) as l";

/// Somebody whose row is there is not even tried: where another transaction is changing that row, the conflict would
/// have to wait for its end.
const INTRODUCE: &str = "
    insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, updated_at)
    select p, id, 'unenrolled', 0, 0, 0, 0, now() from unnest($1::text[], $2::smallint[]) as u (id, p)
    where not exists (select from member where partition = p and member_id = id) order by p, id collate \"C\"
    on conflict do nothing";

const PARKED: &str = "
    select member_id, command_id, case when member_id = any($2) or command_id = any($3) then body end as body
    from parked where partition = any($4) and member_id = any($1) order by parked_id";

/// Bound before the flight, because the arrays must outlive it.
type Parameters<'a, const N: usize> = [&'a (dyn ToSql + Sync); N];

impl Batch {
    /// Begins the transaction, locks the members of the keys in the order of their ids, and reads what is known.
    /// `enrolling` are the members whom the commands may enrol.
    pub async fn open(pool: &Pool, keys: &[Key], enrolling: &[MemberId]) -> Result<(Self, View), StoreError> {
        Self::open_with(LOCK, pool, keys, enrolling).await
    }

    /// As [`open`](Self::open), but without waiting for anybody's row: a member whom another session holds just now
    /// is not in the view's accounts, and nothing may be decided about them.
    pub async fn open_free(pool: &Pool, keys: &[Key], enrolling: &[MemberId]) -> Result<(Self, View), StoreError> {
        Self::open_with(LOCK_FREE, pool, keys, enrolling).await
    }

    async fn open_with(
        lock: &str,
        pool: &Pool,
        keys: &[Key],
        enrolling: &[MemberId],
    ) -> Result<(Self, View), StoreError> {
        let batch = Self(Transaction::about_to_begin(pool).await?);
        let view = batch.read(lock, keys, enrolling).await?;
        Ok((batch, view))
    }

    /// Begins the transaction and locks one member, as a batch about them would; somebody unknown gets a row.
    pub(crate) async fn open_for_member(pool: &Pool, member_id: &MemberId) -> Result<(Self, Account), StoreError> {
        let batch = Self(Transaction::about_to_begin(pool).await?);
        let client = batch.client();
        let (introduce, lock) = try_join!(client.prepare_cached(INTRODUCE), client.prepare_cached(LOCK))?;
        let members: &[&str] = &[member_id.as_str()];
        let partitions = partitions(members);
        let parameters: Parameters<'_, 2> = [&members, &partitions];
        let ((), _, locked) = try_join!(
            client.batch_execute("begin"),
            client.execute(&introduce, &parameters),
            client.query_one(&lock, &parameters),
        )?;
        let (_, account) = account(&locked)?;
        Ok((batch, account))
    }

    /// The connection of the open transaction, for reading under its locks and for writing beside the changes.
    pub(crate) fn client(&self) -> &Client {
        &self.0
    }

    /// Writes the changes and commits. The answer to a commit can be lost with the connection: then the error is a
    /// passing one, and trying again finds the commands in the ledger.
    pub async fn commit(self, changes: &Changes) -> Result<(), StoreError> {
        write::write_and_commit(&self.0, changes).await?;
        self.0.committed();
        Ok(())
    }

    /// Has the database check the changes as [`commit`](Self::commit) would, and takes them all back. What it refuses
    /// here it would refuse there.
    pub async fn rehearse(self, changes: &Changes) -> Result<(), StoreError> {
        write::write_and_roll_back(&self.0, changes).await?;
        self.0.committed();
        Ok(())
    }

    async fn read(&self, lock: &str, keys: &[Key], enrolling: &[MemberId]) -> Result<View, StoreError> {
        let client = &self.0;
        let key_members: Vec<&str> = keys.iter().map(|(member, _)| member.as_str()).collect();
        let members: Vec<&str> = key_members.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let key_commands: Vec<_> = keys.iter().map(|(_, command)| command.uuid()).collect();
        let (now, locking, known) =
            try_join!(client.prepare_cached(NOW), client.prepare_cached(lock), client.prepare_cached(KNOWN))?;
        // One flight: the statements are sent together, in this order, and answered together.
        let (member_partitions, key_partitions) = (partitions(&members), partitions(&key_members));
        let lock_parameters: Parameters<'_, 2> = [&members, &member_partitions];
        let known_parameters: Parameters<'_, 3> = [&key_members, &key_commands, &key_partitions];
        let ((), now, locked, known) = try_join!(
            client.batch_execute("begin"),
            client.query_one(&now, &[]),
            client.query(&locking, &lock_parameters),
            client.query(&known, &known_parameters),
        )?;
        let mut view = View {
            now: now.get(0),
            seed: ContactSeed::draw().map_err(StoreError::Randomness)?,
            accounts: locked.iter().map(account).collect::<Result<_, _>>()?,
            known: known.iter().map(known_command).collect::<Result<_, _>>()?,
            parked: HashMap::new(),
        };
        self.introduce(lock, keys, enrolling, &members, &mut view).await?;
        Ok(view)
    }

    /// The rarer second flight: gives the unknown a row to lock, and reads what waits for those not enrolled. Who is
    /// held looks unknown at first, gets no row, and is not locked here either.
    async fn introduce(
        &self,
        lock: &str,
        keys: &[Key],
        enrolling: &[MemberId],
        members: &[&str],
        view: &mut View,
    ) -> Result<(), StoreError> {
        let client = &self.0;
        let status = |member: &str| view.accounts.get(member).map(|account| account.standing.status);
        let not_enrolled = |status: Option<MemberStatus>| status.is_none_or(|it| it == MemberStatus::Unenrolled);
        let waiting: Vec<&str> = members.iter().copied().filter(|member| not_enrolled(status(member))).collect();
        let missing: Vec<&str> = waiting.iter().copied().filter(|member| status(member).is_none()).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        // Another transaction may have introduced them first, and we waited for it here: what it wrote of their
        // commands was not to be seen in the first flight.
        let of_missing = keys.iter().filter(|(member, _)| status(member.as_str()).is_none());
        let (key_members, key_commands): (Vec<&str>, Vec<_>) =
            of_missing.map(|(member, command)| (member.as_str(), command.uuid())).unzip();
        let (introduce, locking, known, parked) = try_join!(
            client.prepare_cached(INTRODUCE),
            client.prepare_cached(lock),
            client.prepare_cached(KNOWN),
            client.prepare_cached(PARKED),
        )?;
        let (missing_partitions, key_partitions) = (partitions(&missing), partitions(&key_members));
        let waiting_partitions = partitions(&waiting);
        let missing_parameters: Parameters<'_, 2> = [&missing, &missing_partitions];
        let known_parameters: Parameters<'_, 3> = [&key_members, &key_commands, &key_partitions];
        let enrolling: Vec<&str> = enrolling.iter().map(MemberId::as_str).collect();
        let named: Vec<_> = keys.iter().map(|(_, command)| command.uuid()).collect();
        let waiting_parameters: Parameters<'_, 4> = [&waiting, &enrolling, &named, &waiting_partitions];
        let (_, locked, known, parked) = try_join!(
            client.execute(&introduce, &missing_parameters),
            client.query(&locking, &missing_parameters),
            client.query(&known, &known_parameters),
            client.query(&parked, &waiting_parameters),
        )?;
        for row in &locked {
            let (member_id, account) = account(row)?;
            view.accounts.insert(member_id, account);
        }
        for row in &known {
            let (key, content) = known_command(row)?;
            view.known.insert(key, content);
        }
        for row in &parked {
            let key = key(row)?;
            view.parked.entry(key.0.clone()).or_default().push(Waiting { key, body: row.get("body") });
        }
        Ok(())
    }
}

/// The partition of each.
fn partitions(members: &[&str]) -> Vec<i16> {
    members.iter().map(|id| MemberId::parse(id).map_or(0, |id| partition(&id))).collect()
}

fn account(row: &Row) -> Result<(MemberId, Account), StoreError> {
    let member_id = member_id(row)?;
    let standing = Standing {
        status: MemberStatus::parse(row.get("status")).ok_or(StoreError::Foreign { column: "member.status" })?,
        epoch: row.get("epoch"),
        milestone: row.get("milestone"),
        balance: row.get("balance"),
        lifetime: row.get("lifetime"),
    };
    let account = Account {
        member_id: member_id.clone(),
        standing,
        last_seq: row.get("last_seq"),
        contact: contact(row),
        enrolled_at: row.get("enrolled_at"),
    };
    Ok((member_id, account))
}

fn contact(row: &Row) -> Contact {
    let held = |is_there: &str| if row.get(is_there) { Held::Stored } else { Held::Nothing };
    Contact { email: held("has_email"), name: held("has_name"), key: ContactKey::from_row(row.get("contact_key")) }
}

fn known_command(row: &Row) -> Result<(Key, Content), StoreError> {
    // Without a key: whoever compares it has the member's row.
    Ok((key(row)?, Content::from_row(row, None)?))
}

fn key(row: &Row) -> Result<Key, StoreError> {
    Ok((member_id(row)?, CommandId::from(row.get::<_, uuid::Uuid>("command_id"))))
}

fn member_id(row: &Row) -> Result<MemberId, StoreError> {
    MemberId::parse(row.get("member_id")).map_err(|_| StoreError::Foreign { column: "member_id" })
}
