//! The flags that say which dead letters.

use jiff::Timestamp;
use loyalty_common::{CommandType, MemberId};
use loyalty_store::dead_letters::{DeadLetterState, Filter, Reason};
use loyalty_store::parked;

use crate::exit::Usage;
use crate::time_arg::time_arg;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
pub(super) struct FilterArgs {
    /// Their reason, such as malformed or failed; several with commas
    #[arg(long, value_name = "REASON", value_delimiter = ',')]
    reason: Vec<Reason>,
    /// The type of the command: enroll, earn, spend, ...
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<CommandType>,
    /// Dead letters of this member
    #[arg(long)]
    member: Option<MemberId>,
    /// Set aside at this time or later: a day, a time, or how long ago (2h, 3d)
    #[arg(long, value_name = "WHEN", value_parser = time_arg)]
    since: Option<Timestamp>,
    /// Set aside before this time
    #[arg(long, value_name = "WHEN", value_parser = time_arg)]
    until: Option<Timestamp>,
    /// Their state: open, replaying, replayed, discarded, or any
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<StateArg>,
}

/// A state, or more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StateArg {
    DeadLetter(DeadLetterState),
    /// No dead letters yet: commands that wait for their member's enrolment.
    Parked,
    Any,
}

impl std::str::FromStr for StateArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "parked" => Ok(Self::Parked),
            "any" => Ok(Self::Any),
            _ => text.parse().map(Self::DeadLetter).map_err(|error: String| format!("{error}, parked, any")),
        }
    }
}

impl FilterArgs {
    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        let Self { reason, types, member, since, until, state } = self;
        reason.is_empty()
            && types.is_empty()
            && state.is_empty()
            && member.is_none()
            && since.is_none()
            && until.is_none()
    }

    /// The dead letters that are meant; without a word about their state, those in one of `usual`.
    pub(super) fn dead_letters(&self, usual: &[DeadLetterState]) -> Result<Filter, Usage> {
        let mut states = Vec::new();
        for state in &self.state {
            match state {
                StateArg::DeadLetter(state) => states.push(*state),
                StateArg::Any => states.extend(DeadLetterState::ALL),
                StateArg::Parked => {
                    let text = "a parked command is not a dead letter: its member's enrolment applies it";
                    return Err(Usage(text.to_owned()));
                }
            }
        }
        if self.state.is_empty() {
            states.extend(usual);
        }
        Ok(Filter {
            reasons: self.reason.clone(),
            types: self.types.clone(),
            member: self.member.clone(),
            since: self.since,
            until: self.until,
            states,
            command: None,
        })
    }

    /// The commands that wait, if it is those that are meant.
    pub(super) fn parked(&self) -> Result<Option<parked::Filter>, Usage> {
        if !self.state.contains(&StateArg::Parked) {
            return Ok(None);
        }
        if self.state.len() > 1 || !self.reason.is_empty() || !self.types.is_empty() {
            return Err(Usage("--state parked can only be combined with --member, --since and --until".to_owned()));
        }
        Ok(Some(parked::Filter { member: self.member.clone(), since: self.since, until: self.until }))
    }
}
