//! Editing: another body for a dead letter, to be sent by its replay. The original stays.

use loyalty_common::decode::DecodeError;
use loyalty_store::dead_letters::{self, DeadLetterId, EditError, EditedBody, Opened};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;

use crate::OperatorApproval;
use crate::dry_run::{Prediction, dry_run};
use loyalty_ledger::Programme;

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EditProblem {
    /// It is the body that is there already, or empty.
    #[error("Nothing was changed")]
    Unchanged,
    /// It is no command: it would only become a dead letter again.
    #[error("Still unusable, and not saved: {0}")]
    Broken(DecodeError),
    /// The dead letter cannot be edited.
    #[error(transparent)]
    Refused(EditError),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EditReport {
    pub dead_letter_id: DeadLetterId,
    /// Whether it has the new body.
    pub edited: bool,
    /// Why not, if it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What a replay would do now.
    pub replay: Option<Prediction>,
}

impl EditReport {
    /// Nothing was done, for this reason.
    pub const fn not_edited(dead_letter_id: DeadLetterId, problem: String) -> Self {
        Self { dead_letter_id, edited: false, problem: Some(problem), replay: None }
    }
}

/// Whether a body can take the place of the one that is there.
pub fn check(opened: &Opened, body: Vec<u8>) -> Result<EditedBody, EditProblem> {
    if body.is_empty() || Some(&body) == opened.edited_body.as_ref() {
        return Err(EditProblem::Unchanged);
    }
    EditedBody::parse(body).map_err(EditProblem::Broken)
}

/// Keeps the body, and says what a replay would do now. The outer error is the database's.
pub async fn edit(
    pool: &Pool,
    programme: &Programme,
    id: DeadLetterId,
    body: &EditedBody,
    approval: &OperatorApproval,
) -> Result<Result<EditReport, EditProblem>, StoreError> {
    match dead_letters::edit(pool, id, body, approval).await {
        Ok(()) => {}
        Err(EditError::Store(error)) => return Err(error),
        Err(error @ (EditError::Missing(_) | EditError::NotOpen { .. } | EditError::Email(_))) => {
            return Ok(Err(EditProblem::Refused(error)));
        }
    }
    let dead_letter = dead_letters::replayable(pool, &[id]).await?;
    let replay = dry_run(pool, programme, &dead_letter).await?.pop();
    Ok(Ok(EditReport { dead_letter_id: id, edited: true, problem: None, replay }))
}
