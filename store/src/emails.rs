//! Emails as an operator sees and treats them: listed, shown, queued again.
//!
//! Reading takes the pool and changes nothing. To queue an email again is its new state and its request in the outbox,
//! in one transaction, and settles its open dead letters: the email and the dead letter are one thing to an operator.
//! Whether an email whose delivery is unknown is sent again is asked for by itself, since its member may get it twice.

use jiff::Timestamp;
use loyalty_common::{MemberId, string_enum};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::PAGE_MAX;
use crate::dead_letters::{self, DeadLetterId, Event};
use crate::member_row::member_id;
use crate::partition::partition;
use crate::pool::{Pool, StoreError};

mod attempt;
mod claim;
mod content;
mod overdue;
pub mod request;
mod requeue;

pub use crate::email_id::EmailId;
pub use attempt::*;
pub use claim::{Claim, ClaimError, ClaimToken, InDoubt, claim, take_back};
pub use content::{EmailContent, EmailKind};
pub use overdue::ask_for_overdue;
pub(crate) use requeue::ask_for;
pub use requeue::{Requeue, Requeued, requeue, requeue_dead_letters, states};

/// An email, without where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedEmail {
    pub email_id: Uuid,
    pub member_id: MemberId,
    /// In which membership.
    pub epoch: i32,
    #[serde(flatten)]
    pub content: EmailContent,
    pub state: EmailState,
    /// How often a mail server was asked to take it.
    pub attempts: i32,
    /// While it is sent: until when its mailer may be at it. While it is retried: when the next attempt is due.
    pub due_at: Option<Timestamp>,
    /// What the mail server said last. Addresses in it are masked.
    pub reply: Option<String>,
    /// When it was written: the reward was granted, or the warning was due.
    pub created_at: Timestamp,
    /// When it came to stand where it does.
    pub updated_at: Timestamp,
}

/// An email with everything that is known of it.
#[derive(Debug)]
pub struct OpenedEmail {
    pub email: ListedEmail,
    /// Where it goes as things stand; none: the member gave no address, or has left.
    pub recipient: Option<Recipient>,
    /// Its dead letters, the oldest first.
    pub dead_letters: Vec<DeadLetterId>,
    /// Who did what and why, the oldest first.
    pub history: Vec<Event>,
}

/// Which emails. An empty list and a `None` ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those in one of these states.
    pub states: Vec<EmailState>,
    /// Only those of one of these kinds.
    pub kinds: Vec<EmailKind>,
    /// Only those of this member.
    pub member: Option<MemberId>,
    /// Only those written at this time or later.
    pub since: Option<Timestamp>,
    /// Only those written before this time.
    pub until: Option<Timestamp>,
}

/// So many emails have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What they have in common.
    pub key: String,
    pub emails: i64,
    /// When the first of them was written.
    pub first_at: Timestamp,
    /// When one of them changed last.
    pub last_at: Timestamp,
}

string_enum! {
    /// What emails are counted by.
    pub enum Grouping {
        /// Where they stand.
        State = "state",
        /// What they are for.
        Kind = "kind",
        Member = "member",
        /// The day, in UTC, on which they were written.
        Day = "day",
        /// What the mail server said last.
        Reply = "reply",
    }
}

/// An email whose reward is missing tells nothing.
const EMAIL: &str = "
    select e.email_id, e.member_id, e.epoch, e.kind, e.number, e.expires_on, r.title,
           coalesce(r.points, e.points) as points, e.state, e.attempts, e.due_at, e.reply, e.created_at, e.updated_at,
           m.email as recipient
    from email as e left join reward as r using (partition, member_id, epoch, number)
    left join member as m on m.partition = e.partition and m.member_id = e.member_id and m.epoch = e.epoch
    where (e.kind <> 'reward' or r.number is not null)";

const CONDITION: &str = "
    ($1::text[] is null or e.state = any($1))
    and ($2::text is null or e.partition = $5::smallint and e.member_id = $2)
    and ($3::timestamptz is null or e.created_at >= $3) and ($4::timestamptz is null or e.created_at < $4)
    and ($6::text[] is null or e.kind = any($6))";

/// A page of emails, the oldest first, beginning after `after`; empty, if there is no such email.
pub async fn list(
    pool: &Pool,
    filter: &Filter,
    after: Option<EmailId>,
    limit: u32,
) -> Result<Vec<ListedEmail>, StoreError> {
    let (partition, after) = (after.map(EmailId::partition), after.map(EmailId::uuid));
    let query = format!(
        "{EMAIL} and {CONDITION}
             and ($7::uuid is null
                  or (e.created_at, e.email_id)
                     > (select created_at, email_id from email where partition = $9 and email_id = $7))
         order by e.created_at, e.email_id limit $8"
    );
    let (values, limit) = (filter.values(), i64::from(limit.min(PAGE_MAX)));
    let rows = pool.get().await?.query(&query, &values.and(&[&after, &limit, &partition])).await?;
    rows.iter().map(listed).collect()
}

/// The emails that a filter matches now, the oldest first, at most `limit`.
pub async fn matching(pool: &Pool, filter: &Filter, limit: u32) -> Result<Vec<EmailId>, StoreError> {
    let query =
        format!("select e.email_id from email as e where {CONDITION} order by e.created_at, e.email_id limit $7");
    let values = filter.values();
    let rows = pool.get().await?.query(&query, &values.and(&[&i64::from(limit)])).await?;
    Ok(rows.iter().map(|row| EmailId::from(row.get::<_, Uuid>(0))).collect())
}

/// How many emails have what in common, most first (days in their order). At most [`PAGE_MAX`] groups.
pub async fn counts(pool: &Pool, filter: &Filter, by: Grouping) -> Result<Vec<Count>, StoreError> {
    let (key, order) = match by {
        Grouping::State => ("e.state", "emails desc, key"),
        Grouping::Kind => ("e.kind", "emails desc, key"),
        Grouping::Member => ("e.member_id", "emails desc, key"),
        Grouping::Day => ("to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD')", "key"),
        Grouping::Reply => ("coalesce(e.reply, '')", "emails desc, key"),
    };
    let query = format!(
        "select {key} as key, count(*) as emails, min(e.created_at) as first_at, max(e.updated_at) as last_at
         from email as e where {CONDITION} group by 1 order by {order} limit $7"
    );
    let values = filter.values();
    let rows = pool.get().await?.query(&query, &values.and(&[&i64::from(PAGE_MAX)])).await?;
    let count = |row: &Row| Count {
        key: loyalty_common::email_address::mask(row.get("key")),
        emails: row.get("emails"),
        first_at: row.get("first_at"),
        last_at: row.get("last_at"),
    };
    Ok(rows.iter().map(count).collect())
}

/// One email with everything.
pub async fn open(pool: &Pool, id: EmailId) -> Result<Option<OpenedEmail>, StoreError> {
    let client = pool.get().await?;
    let (partition, uuid) = (id.partition(), id.uuid());
    let key: [&(dyn ToSql + Sync); 2] = [&partition, &uuid];
    let Some(row) = client.query_opt(&format!("{EMAIL} and e.partition = $1 and e.email_id = $2"), &key).await? else {
        return Ok(None);
    };
    let dead_letters =
        "select dead_letter_id from dead_letter where partition = $1 and email_id = $2 order by dead_letter_id";
    let dead_letters = client.query(dead_letters, &key).await?;
    Ok(Some(OpenedEmail {
        email: listed(&row)?,
        recipient: row.get::<_, Option<String>>("recipient").map(Recipient::new),
        dead_letters: dead_letters.iter().map(dead_letters::dead_letter_id).collect(),
        history: dead_letters::of_email(&client, id).await?,
    }))
}

/// The values of the parameters of [`CONDITION`].
struct Values<'a> {
    states: Option<Vec<&'static str>>,
    kinds: Option<Vec<&'static str>>,
    member: Option<&'a str>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    partition: Option<i16>,
}

impl Filter {
    fn values(&self) -> Values<'_> {
        let states = (!self.states.is_empty()).then(|| self.states.iter().map(|state| state.as_str()).collect());
        let (member, partition) = (self.member.as_ref().map(MemberId::as_str), self.member.as_ref().map(partition));
        let kinds = (!self.kinds.is_empty()).then(|| self.kinds.iter().map(|kind| kind.as_str()).collect());
        Values { states, kinds, member, since: self.since, until: self.until, partition }
    }
}

impl Values<'_> {
    /// The parameters of [`CONDITION`], followed by the caller's own.
    fn and<'a>(&'a self, own: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> =
            vec![&self.states, &self.member, &self.since, &self.until, &self.partition, &self.kinds];
        all.extend(own);
        all
    }
}

fn listed(row: &Row) -> Result<ListedEmail, StoreError> {
    Ok(ListedEmail {
        email_id: row.get("email_id"),
        member_id: member_id(row)?,
        epoch: row.get("epoch"),
        content: EmailContent::read(row)?,
        state: EmailState::read(row)?,
        attempts: row.get("attempts"),
        due_at: row.get("due_at"),
        reply: row.get::<_, Option<&str>>("reply").map(loyalty_common::email_address::mask),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}
