//! A page of members as they are stored, with all of their rows, and how that differs from what the rows come to.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

use loyalty_common::MemberId;
use loyalty_ledger::{Account, Entry, Lot, MemberState, Programme, refold};
use tokio_postgres::{IsolationLevel, Row, Transaction};

use super::super::{Broken, STATEMENT_TIMEOUT};
use crate::ledger_row::{CONTENT, EFFECTS, entry};
use crate::member_row::{hold, lot, member_state};
use crate::pool::{Pool, StoreError};

/// Members of a page. Their rows are in memory at once: with a thousand rows each, about 100 MB.
const PAGE: i64 = 200;

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
pub(super) struct Stored {
    pub(super) member_id: MemberId,
    account: Account,
    rows: Vec<Entry>,
}

/// The next members of a partition, from one snapshot; none, if there are no more.
pub(super) async fn read(pool: &Pool, partition: i16, after: &str) -> Result<Vec<Stored>, StoreError> {
    let mut client = pool.get().await?;
    let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = snapshot.start().await?;
    transaction.batch_execute(STATEMENT_TIMEOUT).await?;
    let members = transaction.query(MEMBERS, &[&partition, &after, &PAGE]).await?;
    let Some(last) = members.last() else { return Ok(Vec::new()) };
    let last: &str = last.get("member_id");
    let of_page = Page { transaction: &transaction, partition, after, last };
    let mut rows = of_page.read(&ledger(), entry).await?;
    let mut lots = of_page.read(LOTS, |row| Ok(lot(row))).await?;
    let mut holds = of_page.read(HOLDS, |row| Ok(hold(row))).await?;
    let stored = |row: &Row| {
        let member: &str = row.get("member_id");
        Ok(Stored {
            member_id: MemberId::parse(member).map_err(|_| StoreError::UnexpectedValue { column: "member_id" })?,
            account: Account {
                state: member_state(row)?,
                lots: lots.remove(member).unwrap_or_default(),
                holds: holds.remove(member).unwrap_or_default(),
            },
            rows: rows.remove(member).unwrap_or_default(),
        })
    };
    let stored = members.iter().map(stored).collect();
    transaction.rollback().await?;
    stored
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

impl Page<'_> {
    /// What a query answers of each of the members.
    async fn read<T>(
        &self,
        query: &str,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<HashMap<String, Vec<T>>, StoreError> {
        let mut of_members: HashMap<String, Vec<T>> = HashMap::new();
        for row in self.transaction.query(query, &[&self.partition, &self.after, &self.last]).await? {
            of_members.entry(row.get("member_id")).or_default().push(read(&row)?);
        }
        Ok(of_members)
    }
}

impl Stored {
    /// Rows that do not follow from those before them, and what the member has that does not follow from the rows.
    pub(super) fn differences(&self, programmes: &BTreeMap<i16, Programme>) -> Vec<Broken> {
        let Self { member_id, account, rows } = self;
        let refolded = refold(rows, programmes, &account.state);
        let of_rows = refolded.differences.iter().map(|difference| Broken {
            subject: format!("member {member_id} seq {}", difference.seq),
            problem: format!("{} does not follow from the rows before it", difference.what),
        });
        let of_member = differing(account, &refolded.account)
            .into_iter()
            .map(|problem| Broken { subject: format!("member {member_id}"), problem });
        of_rows.chain(of_member).collect()
    }
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
