//! Which dead letters: the conditions that lists, counts, exports and replays share.

use jiff::Timestamp;
use loyalty_common::{CommandId, CommandType, MemberId};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::DeadLetterState;
use crate::dead_letters::Reason;

/// Which dead letters. An empty list and a `None` ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those set aside for one of these reasons.
    pub reasons: Vec<Reason>,
    /// Only those of one of these types of commands.
    pub types: Vec<CommandType>,
    /// Only those about this member.
    pub member: Option<MemberId>,
    /// Only those set aside first at this time or later.
    pub since: Option<Timestamp>,
    /// Only those set aside first before this time.
    pub until: Option<Timestamp>,
    /// Only those in one of these states.
    pub states: Vec<DeadLetterState>,
    /// Only those about this command. Cheap beside a member, whose index has the command's id too.
    pub command: Option<CommandId>,
}

/// The condition over the parameters $1 to $7. The server plans each call with its values, so that what is not asked
/// for costs nothing and an index serves what is. A member's dead letters may stand in any partition, since an operator
/// may have found out whose they are; all are named because the index begins with them.
pub(super) const CONDITION: &str = "
    ($1::text[] is null or reason = any($1)) and ($2::text[] is null or command_type = any($2))
    and ($3::text is null or member_id = $3 and partition = any('{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}')) and ($4::timestamptz is null or first_at >= $4)
    and ($5::timestamptz is null or first_at < $5) and ($6::text[] is null or state = any($6))
    and ($7::uuid is null or command_id = $7)";

/// The values of the parameters.
pub(super) struct Values<'a> {
    reasons: Option<Vec<&'static str>>,
    types: Option<Vec<&'static str>>,
    member: Option<&'a str>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    states: Option<Vec<&'static str>>,
    command: Option<Uuid>,
}

impl Filter {
    pub(super) fn values(&self) -> Values<'_> {
        Values {
            reasons: names(&self.reasons, Reason::as_str),
            types: names(&self.types, CommandType::as_str),
            member: self.member.as_ref().map(MemberId::as_str),
            since: self.since,
            until: self.until,
            states: names(&self.states, DeadLetterState::as_str),
            command: self.command.map(CommandId::uuid),
        }
    }
}

impl Values<'_> {
    /// The parameters of [`CONDITION`], followed by the caller's own.
    pub(super) fn and<'a>(&'a self, own: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> =
            vec![&self.reasons, &self.types, &self.member, &self.since, &self.until, &self.states, &self.command];
        all.extend(own);
        all
    }
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Option<Vec<&'static str>> {
    (!all.is_empty()).then(|| all.iter().map(|one| name(*one)).collect())
}
