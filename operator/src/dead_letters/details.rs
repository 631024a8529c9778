//! One dead letter with everything, and what a replay would do now.

use jiff::Timestamp;
use loyalty_store::dead_letters::{self, DeadLetter, DeadLetterId, DeadLetterState, Event, Opened};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;
use serde_json::Value;

use super::body::{Encoded, readable};
use super::masking;
use crate::PersonalData;
use crate::dry_run::{Prediction, dry_run};
use loyalty_ledger::Programme;

/// Everything that is known of a dead letter.
#[derive(Debug, Serialize)]
pub struct Details {
    /// Where it came from, why it is one, and how it stands.
    #[serde(flatten)]
    pub dead_letter: DeadLetter,
    /// Properties and headers.
    pub headers: Value,
    #[serde(flatten)]
    body: Encoded,
    edited_body: Option<Encoded>,
    /// When body and headers were erased.
    pub erased_at: Option<Timestamp>,
    /// Who did what to it, the first event first.
    pub history: Vec<Event>,
    /// What a replay would do now; none, if there is nothing left to replay.
    pub replay: Option<Prediction>,
    /// The body for a person to read.
    #[serde(skip)]
    pub body_text: String,
    /// What an operator wrote instead, for a person to read.
    #[serde(skip)]
    pub edited_text: Option<String>,
}

impl Details {
    /// Reads them; none, if there is no such dead letter.
    pub async fn read(
        pool: &Pool,
        programme: &Programme,
        id: DeadLetterId,
        personal: PersonalData,
    ) -> Result<Option<Self>, StoreError> {
        let Some(opened) = dead_letters::open(pool, id).await? else { return Ok(None) };
        let replay = predict(pool, programme, &opened.dead_letter).await?;
        Ok(Some(Self::of(opened, replay, personal)))
    }

    fn of(opened: Opened, replay: Option<Prediction>, personal: PersonalData) -> Self {
        let encode = |body: &[u8]| Encoded::of(body, personal);
        Self {
            erased_at: opened.erased_at(),
            headers: match personal {
                PersonalData::Revealed => opened.headers,
                PersonalData::Masked => masking::headers(&opened.headers),
            },
            body: encode(&opened.body),
            edited_body: opened.edited_body.as_deref().map(encode),
            body_text: readable(&opened.body, personal),
            edited_text: opened.edited_body.as_deref().map(|body| readable(body, personal)),
            dead_letter: match personal {
                PersonalData::Revealed => opened.dead_letter,
                PersonalData::Masked => without_personal(opened.dead_letter),
            },
            history: opened.history,
            replay,
        }
    }
}

/// A publisher may have put an address anywhere.
pub(crate) fn without_personal(dead_letter: DeadLetter) -> DeadLetter {
    let [error, exchange, routing_key] =
        [&dead_letter.error, &dead_letter.exchange, &dead_letter.routing_key].map(|text| masking::text(text));
    DeadLetter { error, exchange, routing_key, ..dead_letter }
}

async fn predict(
    pool: &Pool,
    programme: &Programme,
    dead_letter: &DeadLetter,
) -> Result<Option<Prediction>, StoreError> {
    match dead_letter.state {
        DeadLetterState::Open | DeadLetterState::Replaying => {}
        DeadLetterState::Replayed | DeadLetterState::Discarded => return Ok(None),
    }
    let dead_letters = dead_letters::replayable(pool, &[dead_letter.dead_letter_id]).await?;
    Ok(dry_run(pool, programme, &dead_letters).await?.pop())
}
