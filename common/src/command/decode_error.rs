//! Why a body is no command, in words for its sender.

use super::CommandType;

/// Why a body is no command. The texts never contain what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is over the contract's bound.
    #[error("the body has {bytes} bytes; at most 65536 are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is not one JSON object.
    #[error("the body must be one JSON object: {problem}")]
    Malformed {
        /// What the parser stumbled over, and where.
        problem: String,
    },
    /// A version that this release does not speak.
    #[error("`v` must be 1")]
    UnknownVersion,
    /// A type that this release does not know.
    #[error("`type` must be one of {}", CommandType::names())]
    UnknownType,
    /// A field is missing, wrong, or unknown.
    #[error("`{field}` {problem}")]
    Field {
        /// Which.
        field: String,
        /// What is allowed.
        problem: String,
    },
}

impl DecodeError {
    /// The field that is wrong, if the error is about one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::TooLarge { .. } | Self::Malformed { .. } => None,
            Self::UnknownVersion => Some("v"),
            Self::UnknownType => Some("type"),
            Self::Field { field, .. } => Some(field),
        }
    }

    pub(crate) fn field_error(field: &str, problem: impl Into<String>) -> Self {
        Self::Field { field: field.to_owned(), problem: problem.into() }
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::field_error(field, "is missing")
    }
}
