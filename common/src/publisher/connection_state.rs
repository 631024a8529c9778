//! How a publisher stands with its broker.

use std::fmt;

use super::Refusal;

/// How the publisher stands with its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not connected, and why.
    Down(String),
    /// Connected and publishing.
    Up,
    /// Connected, but the broker takes nothing.
    Blocked(String),
    /// The broker can be reached, but refuses what is published. Asked again until it does not.
    Refused(Refusal),
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(reason) => write!(f, "not connected: {reason}"),
            Self::Up => f.write_str("connected"),
            Self::Blocked(reason) => write!(f, "short of memory or disk: {reason}"),
            Self::Refused(refusal) => write!(f, "refuses what is published: {refusal}"),
        }
    }
}
