//! Who did what to a dead letter or an email, when and why. Lines are added and never changed.

use deadpool_postgres::Client;
use jiff::Timestamp;
use loyalty_common::string_enum;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{DeadLetterId, ReplayResult, known, perhaps};
use crate::email_id::EmailId;
use crate::pool::StoreError;

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    pub at: Timestamp,
    pub actor: String,
    pub action: Action,
    pub note: Option<String>,
    pub replay_id: Option<Uuid>,
    /// What a replay came to.
    pub result: Option<ReplayResult>,
    /// The code of a refusal, or the reason of the new dead letter.
    pub code: Option<String>,
}

string_enum! {
    /// What was done.
    pub enum Action {
        /// Another body was written.
        Edited = "edited",
        /// It was decided not to send it again.
        Discarded = "discarded",
        /// What its sender wrote was taken out of it.
        Erased = "erased",
        /// A replay took hold of it.
        Claimed = "claimed",
        /// A replay let go of it without having sent it.
        Released = "released",
        /// It was sent again, and this is what became of it.
        Replayed = "replayed",
        /// Its email was queued again.
        Retried = "retried",
        /// Its email, which may have gone already, was queued again.
        Resent = "resent",
    }
}

const COLUMNS: &str = "at, actor, action, note, replay_id, result, code";

/// Nobody does more to one dead letter than a person can read.
const EVENTS_MAX: i64 = 1_000;

pub(super) async fn of_dead_letter(client: &Client, id: DeadLetterId) -> Result<Vec<Event>, StoreError> {
    let query = format!(
        "select {COLUMNS} from operator_event where dead_letter_id = $1 order by operator_event_id limit {EVENTS_MAX}"
    );
    let rows = client.query(&query, &[&id.get()]).await?;
    rows.iter().map(event).collect()
}

/// What was done to an email, by itself or through one of its dead letters.
pub(crate) async fn of_email(client: &Client, id: EmailId) -> Result<Vec<Event>, StoreError> {
    let query = format!(
        "select {COLUMNS} from operator_event where partition = $1 and email_id = $2
         order by operator_event_id limit {EVENTS_MAX}"
    );
    let rows = client.query(&query, &[&id.partition(), &id.uuid()]).await?;
    rows.iter().map(event).collect()
}

fn event(row: &Row) -> Result<Event, StoreError> {
    Ok(Event {
        at: row.get("at"),
        actor: row.get("actor"),
        action: known(row, "action", Action::parse, "operator_event.action")?,
        note: row.get("note"),
        replay_id: row.get("replay_id"),
        result: perhaps(row, "result", ReplayResult::parse, "operator_event.result")?,
        code: row.get("code"),
    })
}
