//! An operator's leave to write. Every function by which an operator changes something asks for it, so that none of
//! them can be called on the way to a list or a dry run.

use loyalty_common::Text;

/// Somebody was shown what will be done, and said yes. Who and why goes into the history of what is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorApproval {
    actor: Text,
    note: Option<Text>,
}

impl OperatorApproval {
    /// To be called where a person answered yes or gave the flag that says so, and nowhere else.
    pub fn confirmed(actor: Text, note: Option<Text>) -> Self {
        Self { actor, note }
    }

    pub fn actor(&self) -> &str {
        self.actor.as_str()
    }

    pub fn note(&self) -> Option<&str> {
        self.note.as_ref().map(Text::as_str)
    }
}
