//! What a replay did, and why it ended.

use std::fmt;

use loyalty_common::publisher::PublishError;
use loyalty_store::dead_letters::{Concluded, DeadLetterId, DeadLetterState, Held};

#[derive(Debug)]
pub struct ReplayOutcome {
    /// Dead letters whose end is known.
    pub concluded: Vec<(DeadLetterId, Concluded)>,
    /// Dead letters that were sent and have no result yet. Whoever replays or sweeps next records it.
    pub unanswered: Vec<DeadLetterId>,
    /// Dead letters that were claimed and not sent. They are open again.
    pub released: Vec<DeadLetterId>,
    /// Dead letters that another replay holds, or that come after one of these.
    pub held: Vec<Held>,
    /// Dead letters that were replayed or discarded before.
    pub done: Vec<(DeadLetterId, DeadLetterState)>,
    /// Numbers of no dead letter.
    pub missing: Vec<DeadLetterId>,
    pub ended: Ended,
}

/// Why a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was sent.
    Finished,
    /// It had nothing to send: others had taken or decided everything meanwhile.
    NothingSent,
    /// It was told to stop.
    Stopped,
    /// Of the first dead letters too many came to a bad end.
    CanaryFailed {
        failed: usize,
        /// How many were sent.
        of: usize,
    },
    /// The first dead letters got no result in time, so nobody knows how they fare. Does a worker run?
    CanaryUnanswered,
    /// The broker did not take a command.
    Broker(PublishError),
    /// It slept for longer than its hold on the dead letters, and another replay took them.
    Overtaken,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("everything was sent"),
            Self::NothingSent => f.write_str("nothing was sent"),
            Self::Stopped => f.write_str("the replay was stopped"),
            Self::CanaryFailed { failed, of } => {
                write!(f, "the replay stopped itself: {failed} of the first {of} dead letters failed")
            }
            Self::CanaryUnanswered => {
                f.write_str("the replay stopped itself: its first dead letters have no result; is a worker running?")
            }
            Self::Broker(error) => write!(f, "the replay could not go on: {error}"),
            Self::Overtaken => {
                f.write_str("the replay was suspended for too long, and another one took its dead letters")
            }
        }
    }
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Dead letters that were claimed.
    pub claimed: usize,
    /// Dead letters that were sent.
    pub sent: usize,
    /// Dead letters whose end is known.
    pub concluded: usize,
}
