//! A page of members as they are stored, and how that differs from what their rows come to, which are read and decided
//! some at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Display;

use loyalty_common::MemberId;
use loyalty_ledger::{self as rules, Account, Entry, Lot, MemberState, Programme, Refold};
use tokio_postgres::{IsolationLevel, Portal, Row, Transaction};

use super::super::{Broken, STATEMENT_TIMEOUT};
use super::Refolded;
use crate::ledger_row::{CONTENT, EFFECTS, entry};
use crate::member_row::{hold, lot, member_state};
use crate::pool::{Pool, StoreError};

/// Members of a page: as many as one snapshot is about.
const PAGE: i64 = 200;

/// Rows of the ledger in memory at once: some megabytes for each task. Beside them stands what the rows of one member
/// so far may be needed for later, some hundred bytes each.
const ROWS: i32 = 4_000;

const MEMBERS: &str = "
    select member_id, status, epoch, milestone, balance, held, debt, lifetime, peak, as_of
    from member where partition = $1 and member_id > $2 order by member_id limit $3";

/// Of the present membership; one of which nothing is left and nothing has expired says nothing.
const LOTS: &str = "
    select l.member_id, l.expires_at, l.expires_on, l.opened_at, l.remaining, l.expired
    from lot as l join member as m using (partition, member_id, epoch)
    where l.partition = $1 and l.member_id > $2 and l.member_id <= $3 and (l.remaining, l.expired) <> (0, 0)
    order by l.member_id, l.expires_at";

const HOLDS: &str = "
    select member_id, command_id, seq, points, expires_at, lot_expires_at, lot_points
    from hold where partition = $1 and member_id > $2 and member_id <= $3 order by member_id, expires_at, seq";

/// A member as stored.
struct Stored {
    member_id: MemberId,
    account: Account,
}

/// Decides the rows of the next members of a partition again, from one snapshot.
pub(super) async fn refold(
    pool: &Pool,
    partition: i16,
    after: &str,
    programmes: &BTreeMap<i16, Programme>,
) -> Result<Refolded, StoreError> {
    let mut refolded = Refolded::default();
    let mut client = pool.get().await?;
    let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = snapshot.start().await?;
    transaction.batch_execute(STATEMENT_TIMEOUT).await?;
    let members = transaction.query(MEMBERS, &[&partition, &after, &PAGE]).await?;
    if let Some(last) = members.last() {
        let page = Page { transaction: &transaction, partition, after, last: last.get("member_id") };
        let mut rows = page.rows().await?;
        for Stored { member_id, account } in page.stored(&members).await? {
            let mut refold = Refold::new(programmes, &account.state);
            while let Some(row) = rows.next_of(&member_id).await? {
                refold.row(&row);
            }
            let broken = differences(&member_id, &account, &refold.finish());
            refolded.add(member_id, broken);
        }
    }
    transaction.rollback().await?;
    Ok(refolded)
}

/// The rows of the ledger in their order.
fn ledger() -> String {
    format!(
        "select member_id, seq, command_id, epoch, programme, code, balance_after, occurred_at, reversed_after,
                coalesce(effective_at, occurred_at) as effective_at, {CONTENT}, {EFFECTS}
         from ledger where partition = $1 and member_id > $2 and member_id <= $3 order by member_id, seq"
    )
}

struct Page<'a> {
    transaction: &'a Transaction<'a>,
    partition: i16,
    after: &'a str,
    last: &'a str,
}

impl<'a> Page<'a> {
    async fn stored(&self, members: &[Row]) -> Result<Vec<Stored>, StoreError> {
        let (mut lots, mut holds) = (self.read(LOTS, lot).await?, self.read(HOLDS, hold).await?);
        let stored = |row: &Row| {
            let member: &str = row.get("member_id");
            Ok(Stored {
                member_id: MemberId::parse(member).map_err(|_| StoreError::UnexpectedValue { column: "member_id" })?,
                account: Account {
                    state: member_state(row)?,
                    lots: lots.remove(member).unwrap_or_default(),
                    holds: holds.remove(member).unwrap_or_default().into(),
                },
            })
        };
        members.iter().map(stored).collect()
    }

    /// What a query answers of each of the members.
    async fn read<T>(&self, query: &str, read: impl Fn(&Row) -> T) -> Result<HashMap<String, Vec<T>>, StoreError> {
        let mut of_members: HashMap<String, Vec<T>> = HashMap::new();
        for row in self.transaction.query(query, &[&self.partition, &self.after, &self.last]).await? {
            of_members.entry(row.get("member_id")).or_default().push(read(&row));
        }
        Ok(of_members)
    }

    async fn rows(&self) -> Result<Rows<'a>, StoreError> {
        let transaction = self.transaction;
        let portal = transaction.bind(&ledger(), &[&self.partition, &self.after, &self.last]).await?;
        Ok(Rows { transaction, portal, read: VecDeque::new(), more: true })
    }
}

/// The rows of a page, by member and place.
struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    portal: Portal,
    read: VecDeque<Row>,
    /// Whether there may be more than these.
    more: bool,
}

impl Rows<'_> {
    /// The next row of a member; none, if they have no more. Those of members before, who have no row, are left out.
    async fn next_of(&mut self, member_id: &MemberId) -> Result<Option<Entry>, StoreError> {
        loop {
            if self.read.is_empty() && self.more {
                self.read = self.transaction.query_portal(&self.portal, ROWS).await?.into();
                self.more = !self.read.is_empty();
            }
            let Some(next) = self.read.front().map(|row| row.get::<_, &str>("member_id")) else { return Ok(None) };
            if next > member_id.as_str() {
                return Ok(None);
            }
            let is_theirs = next == member_id.as_str();
            let row = self.read.pop_front();
            if let Some(row) = row.filter(|_| is_theirs) {
                return entry(&row).map(Some);
            }
        }
    }
}

/// Rows that do not follow from those before them, and what the member has that does not follow from the rows.
fn differences(member_id: &MemberId, stored: &Account, refolded: &rules::Refolded) -> Vec<Broken> {
    let of_rows = refolded.differences.iter().map(|difference| Broken {
        subject: format!("member {member_id} seq {}", difference.seq),
        problem: format!("{} does not follow from the rows before it", difference.what),
    });
    let of_member = differing(stored, &refolded.account)
        .into_iter()
        .map(|problem| Broken { subject: format!("member {member_id}"), problem });
    of_rows.chain(of_member).collect()
}

/// In what an account differs from what its rows come to, in words.
fn differing(stored: &Account, refolded: &Account) -> Vec<String> {
    let said_of_them = refolded.lots.iter().filter(|lot| (lot.remaining, lot.expired) != (0, 0));
    let lots: Vec<Lot> = said_of_them.cloned().collect();
    let of_lots = (stored.lots != lots).then(|| "the lots are not those that the rows come to".to_owned());
    let of_holds = (stored.holds != refolded.holds).then(|| "the holds are not those that the rows come to".to_owned());
    of_state(&stored.state, &refolded.state).into_iter().chain(of_lots).chain(of_holds).collect()
}

fn of_state(stored: &MemberState, refolded: &MemberState) -> Vec<String> {
    let number = |what, of: fn(&MemberState) -> i64| differs(what, &of(stored), &of(refolded));
    let time = |state: &MemberState| state.as_of.map_or_else(|| "no time".to_owned(), |as_of| as_of.to_string());
    let milestone = |state: &MemberState| state.milestone.map_or_else(|| "none".to_owned(), |it| it.to_string());
    let problems = [
        differs("the status", &stored.status, &refolded.status),
        number("the membership", |state| state.epoch.into()),
        differs("the milestone", &milestone(stored), &milestone(refolded)),
        number("the balance", |state| state.balance),
        number("what is held", |state| state.held),
        number("the debt", |state| state.debt),
        number("the lifetime sum", |state| state.lifetime),
        number("the peak", |state| state.peak),
        differs("the member's time", &time(stored), &time(refolded)),
    ];
    problems.into_iter().flatten().collect()
}

fn differs<T: Display + PartialEq>(what: &str, stored: &T, refolded: &T) -> Option<String> {
    (stored != refolded).then(|| format!("{what} is {stored}, its rows come to {refolded}"))
}
