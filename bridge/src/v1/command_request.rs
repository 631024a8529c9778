//! From a command as somebody sent it over HTTP to one that can be published: its id, its time, and whether it may be
//! sent this way at all.

use jiff::Timestamp;
use loyalty_common::decode::{DecodeError, decode_draft};
use loyalty_common::{Command, CommandId, CommandType, Draft};
use loyalty_store::token::Scope;

use crate::auth::Principal;
use crate::idempotency_key::{HEADER, IdempotencyKey};
use crate::problem::Problem;

/// A command that can be published.
#[derive(Debug)]
pub(crate) struct CommandRequest {
    pub(crate) command: Command,
    /// Whether its id is the client's, so that it may have come before.
    pub(crate) repeatable: bool,
    /// Why it cannot be published after all, unless it came before: its client left the time to us, and what was in
    /// time when it came first is repeated after that.
    pub(crate) untimely: Option<Problem>,
}

impl CommandRequest {
    /// The command of a request of its own.
    pub(crate) fn single(
        body: &[u8],
        key: Option<&IdempotencyKey>,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let draft = decode_draft(body).map_err(|error| wrong(&error, principal))?;
        let named = key.map(|key| key.command_id(&draft.member_id));
        if draft.command_id.is_some() && named.is_some() && draft.command_id != named {
            return Err(Problem::invalid(HEADER, "must be the `command_id`, or left out, if the body has one"));
        }
        Self::complete(draft, named, principal, now)
    }

    /// The command at a line of a batch, counted from 1.
    pub(crate) fn of_line(
        text: &[u8],
        line: usize,
        key: Option<&IdempotencyKey>,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let draft = decode_draft(text).map_err(|error| wrong(&error, principal))?;
        if draft.command_id.is_some() && key.is_some() {
            return Err(Problem::invalid("command_id", "must be left out under an Idempotency-Key for the batch"));
        }
        let named = key.map(|key| key.command_id_at(line, &draft.member_id));
        Self::complete(draft, named, principal, now)
    }

    fn complete(
        draft: Draft,
        named: Option<CommandId>,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let command_type = draft.action.command_type();
        if !is_taken(command_type, principal) {
            return Err(not_taken(principal));
        }
        principal.require(command_type.scope())?;
        let repeatable = draft.command_id.is_some() || named.is_some();
        let is_ours_to_date = draft.occurred_at.is_none();
        let command = draft.filled(named.unwrap_or_else(CommandId::fresh), now);
        let untimely = match command.check() {
            Ok(()) => None,
            Err(error) if repeatable && is_ours_to_date && command.check_time().as_ref() == Err(&error) => {
                Some(wrong(&error, principal))
            }
            Err(error) => return Err(wrong(&error, principal)),
        };
        Ok(Self { command, repeatable, untimely })
    }
}

fn wrong(error: &DecodeError, principal: &Principal) -> Problem {
    // Not every type of the contract is taken from everybody.
    if *error == DecodeError::UnknownType { not_taken(principal) } else { Problem::undecodable(error) }
}

fn not_taken(principal: &Principal) -> Problem {
    let taken = CommandType::ALL.iter().filter(|command_type| is_taken(**command_type, principal));
    let types: Vec<&str> = taken.map(|command_type| command_type.as_str()).collect();
    Problem::invalid("type", &format!("must be one of {} over HTTP", types.join(", ")))
}

/// Whether there is a scope that would do: what is for operators is taken from nobody while nobody is asked who they
/// are.
fn is_taken(command_type: CommandType, principal: &Principal) -> bool {
    match (command_type.scope(), principal) {
        (Scope::Publish | Scope::Read, _) | (Scope::Operate, Principal::Holder(_)) => true,
        (Scope::Operate, Principal::Anyone) => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    const ID: &str = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";

    fn key(text: &str) -> IdempotencyKey {
        let headers =
            HeaderMap::from_iter([(axum::http::HeaderName::from_static(HEADER), text.parse().expect("text"))]);
        IdempotencyKey::of(&headers).expect("a key").expect("one")
    }

    fn body(id: Option<&str>) -> Vec<u8> {
        let id = id.map(|id| format!("\"command_id\":\"{id}\",")).unwrap_or_default();
        format!("{{\"v\":1,{id}\"member_id\":\"ann\",\"type\":\"earn\",\"points\":5}}").into_bytes()
    }

    fn id(request: Result<CommandRequest, Problem>) -> String {
        request.expect("a command").command.command_id.to_string()
    }

    #[test]
    fn a_key_stands_for_one_command_and_a_uuid_is_its_id() {
        let named = |text: &str| id(CommandRequest::single(&body(None), Some(&key(text)), &Principal::Anyone, NOW));
        assert_eq!(named("order 991"), named("order 991"));
        assert_ne!(named("order 991"), named("order 992"));
        assert_eq!(named(ID), ID);
        assert_ne!(
            id(CommandRequest::single(&body(None), None, &Principal::Anyone, NOW)),
            id(CommandRequest::single(&body(None), None, &Principal::Anyone, NOW)),
            "fresh ids differ"
        );
    }

    #[test]
    fn a_key_and_an_id_must_not_disagree() {
        assert_eq!(id(CommandRequest::single(&body(Some(ID)), Some(&key(ID)), &Principal::Anyone, NOW)), ID);
        assert!(CommandRequest::single(&body(Some(ID)), Some(&key("order 991")), &Principal::Anyone, NOW).is_err());
        assert!(CommandRequest::of_line(&body(Some(ID)), 1, Some(&key(ID)), &Principal::Anyone, NOW).is_err());
    }

    #[test]
    fn each_line_under_a_key_is_a_command_of_its_own() {
        let at =
            |line| id(CommandRequest::of_line(&body(None), line, Some(&key("closing 7")), &Principal::Anyone, NOW));
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
        assert_ne!(at(1), id(CommandRequest::single(&body(None), Some(&key("closing 7 1")), &Principal::Anyone, NOW)));
    }

    #[test]
    fn what_cannot_be_undone_is_for_operators_who_are_known() {
        let with = |command: &str, scopes: &[Scope]| {
            let principal = Principal::Holder(scopes.to_vec());
            let body = format!("{{\"v\":1,\"member_id\":\"ann\",{command},\"reason\":\"fraud\"}}");
            CommandRequest::single(body.as_bytes(), None, &principal, NOW).map(drop).map_err(|problem| problem.code())
        };
        let (end, earn) = ("\"type\":\"terminate\"", "\"type\":\"earn\",\"points\":5");
        assert_eq!(with(end, &[Scope::Operate]), Ok(()));
        assert_eq!(with(end, &[Scope::Publish, Scope::Read]), Err("insufficient_scope"));
        assert_eq!(with(earn, &[Scope::Publish]), Ok(()));
        assert_eq!(with(earn, &[Scope::Operate, Scope::Read]), Err("insufficient_scope"));
    }
}
