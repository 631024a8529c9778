//! A difference between what stands on the broker and what is wanted, and what it breaks.

use std::fmt;

use loyalty_common::topology::Impact;
use serde::Serialize;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    pub(super) kind: Kind,
    /// Which of its kind.
    pub(super) name: String,
    /// How it differs.
    pub(super) what: String,
    pub(super) breaks: Impact,
}

/// What is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Exchange,
    Queue,
    Binding,
    /// What a policy makes of a queue.
    Policy,
    /// What an operator's policy makes of a queue.
    OperatorPolicy,
}

impl Difference {
    pub(super) fn new(kind: Kind, name: &str, what: impl Into<String>, breaks: Impact) -> Self {
        Self { kind, name: name.to_owned(), what: what.into(), breaks }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
            Self::Binding => "binding",
            Self::Policy => "policy",
            Self::OperatorPolicy => "operator policy",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}\n    {}", self.kind, self.name, self.what, self.breaks)
    }
}
