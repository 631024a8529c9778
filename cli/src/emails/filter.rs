//! The flags that say which emails.

use jiff::Timestamp;
use loyalty_common::MemberId;
use loyalty_store::emails::{EmailId, EmailKind, EmailState, Filter};
use uuid::Uuid;

use crate::time_arg::time_arg;

/// Which emails.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which emails")]
pub(super) struct FilterArgs {
    /// Their state: no_address, outdated, queued, sending, retrying, sent, unknown, dead; several with commas
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<EmailState>,
    /// Their kind: reward, expiring; several with commas
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<EmailKind>,
    /// Emails of this member
    #[arg(long)]
    member: Option<MemberId>,
    /// Written at this time or later: a day, a time, or how long ago (2h, 3d)
    #[arg(long, value_name = "WHEN", value_parser = time_arg)]
    since: Option<Timestamp>,
    /// Written before this time
    #[arg(long, value_name = "WHEN", value_parser = time_arg)]
    until: Option<Timestamp>,
}

impl FilterArgs {
    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        let Self { state, kind, member, since, until } = self;
        state.is_empty() && kind.is_empty() && member.is_none() && since.is_none() && until.is_none()
    }

    /// The emails that are meant; without a word about their state, those in one of `usual`, or in any.
    pub(super) fn emails(&self, usual: &[EmailState]) -> Filter {
        let states = if self.state.is_empty() { usual.to_vec() } else { self.state.clone() };
        Filter { states, kinds: self.kind.clone(), member: self.member.clone(), since: self.since, until: self.until }
    }
}

pub(super) fn email_id(text: &str) -> Result<EmailId, String> {
    Uuid::try_parse(text).map(EmailId::from).map_err(|_| "must be the id of an email, a UUID".to_owned())
}
