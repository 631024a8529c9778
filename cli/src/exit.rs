//! How a command ends, for `exit_code` to turn into what the shell sees.

/// How a command ended that met no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Done, found, applied, clean.
    Success,
    /// Refused, not found, not clean, not yet.
    Failure,
}

impl From<bool> for ExitStatus {
    fn from(is_success: bool) -> Self {
        if is_success { Self::Success } else { Self::Failure }
    }
}

/// What the command line asks for makes no sense, in a way that only shows after parsing it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);
