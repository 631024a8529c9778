//! From a command as somebody sent it over HTTP to one that can be published: its id, its time, and whether it may be
//! sent this way at all.

use jiff::Timestamp;
use loyalty_common::decode::{DecodeError, decode_draft};
use loyalty_common::{Command, CommandId, CommandType, Draft};
use loyalty_store::token::Scope;

use crate::admission::Caller;
use crate::key::{HEADER, IdempotencyKey};
use crate::problem::Problem;

/// A command that can be published.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) command: Command,
    /// Whether its id is the client's, so that it may have come before.
    pub(crate) repeatable: bool,
}

impl Order {
    /// The command of a request of its own.
    pub(crate) fn single(
        body: &[u8],
        key: Option<&IdempotencyKey>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let draft = decode_draft(body).map_err(|error| wrong(&error, caller))?;
        let named = key.map(|key| key.command_id(&draft.member_id));
        if draft.command_id.is_some() && named.is_some() && draft.command_id != named {
            return Err(Problem::invalid(HEADER, "must be the `command_id`, or left out, if the body has one"));
        }
        Self::complete(draft, named, caller, now)
    }

    /// The command at a line of a batch, counted from 1.
    pub(crate) fn of_line(
        text: &[u8],
        line: usize,
        key: Option<&IdempotencyKey>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let draft = decode_draft(text).map_err(|error| wrong(&error, caller))?;
        if draft.command_id.is_some() && key.is_some() {
            return Err(Problem::invalid("command_id", "must be left out under an Idempotency-Key for the batch"));
        }
        let named = key.map(|key| key.command_id_at(line, &draft.member_id));
        Self::complete(draft, named, caller, now)
    }

    fn complete(draft: Draft, named: Option<CommandId>, caller: &Caller, now: Timestamp) -> Result<Self, Problem> {
        let command_type = draft.action.command_type();
        if !is_taken(command_type, caller) {
            return Err(not_taken(caller));
        }
        caller.require(scope_of(command_type))?;
        let repeatable = draft.command_id.is_some() || named.is_some();
        let command = draft.completed(named.unwrap_or_else(CommandId::fresh), now);
        Ok(Self { command, repeatable })
    }
}

fn wrong(error: &DecodeError, caller: &Caller) -> Problem {
    // Not every type of the contract is taken from everybody.
    if *error == DecodeError::UnknownType { not_taken(caller) } else { Problem::undecodable(error) }
}

fn not_taken(caller: &Caller) -> Problem {
    let taken = CommandType::ALL.iter().filter(|command_type| is_taken(**command_type, caller));
    let types: Vec<&str> = taken.map(|command_type| command_type.as_str()).collect();
    Problem::invalid("type", &format!("must be one of {} over HTTP", types.join(", ")))
}

/// Whether there is a scope that would do: what is for operators is taken from nobody while nobody is asked who they
/// are.
fn is_taken(command_type: CommandType, caller: &Caller) -> bool {
    match (scope_of(command_type), caller) {
        (Scope::Publish | Scope::Read, _) | (Scope::Operate, Caller::Holder(_)) => true,
        (Scope::Operate, Caller::Anyone) => false,
    }
}

/// Whom a command is for.
const fn scope_of(command_type: CommandType) -> Scope {
    match command_type {
        CommandType::Enroll | CommandType::Update | CommandType::Earn | CommandType::Spend | CommandType::Exit => {
            Scope::Publish
        }
        // It cannot be undone.
        CommandType::Terminate => Scope::Operate,
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

    fn id(order: Result<Order, Problem>) -> String {
        order.expect("an order").command.command_id.to_string()
    }

    #[test]
    fn a_key_stands_for_one_command_and_a_uuid_is_its_id() {
        let named = |text: &str| id(Order::single(&body(None), Some(&key(text)), &Caller::Anyone, NOW));
        assert_eq!(named("order 991"), named("order 991"));
        assert_ne!(named("order 991"), named("order 992"));
        assert_eq!(named(ID), ID);
        assert_ne!(
            id(Order::single(&body(None), None, &Caller::Anyone, NOW)),
            id(Order::single(&body(None), None, &Caller::Anyone, NOW)),
            "fresh ids differ"
        );
    }

    #[test]
    fn a_key_and_an_id_must_not_disagree() {
        assert_eq!(id(Order::single(&body(Some(ID)), Some(&key(ID)), &Caller::Anyone, NOW)), ID);
        assert!(Order::single(&body(Some(ID)), Some(&key("order 991")), &Caller::Anyone, NOW).is_err());
        assert!(Order::of_line(&body(Some(ID)), 1, Some(&key(ID)), &Caller::Anyone, NOW).is_err());
    }

    #[test]
    fn each_line_under_a_key_is_a_command_of_its_own() {
        let at = |line| id(Order::of_line(&body(None), line, Some(&key("closing 7")), &Caller::Anyone, NOW));
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
        assert_ne!(at(1), id(Order::single(&body(None), Some(&key("closing 7 1")), &Caller::Anyone, NOW)));
    }

    #[test]
    fn what_cannot_be_undone_is_for_operators_who_are_known() {
        let with = |command: &str, scopes: &[Scope]| {
            let caller = Caller::Holder(scopes.to_vec());
            let body = format!("{{\"v\":1,\"member_id\":\"ann\",{command},\"reason\":\"fraud\"}}");
            Order::single(body.as_bytes(), None, &caller, NOW).map(drop).map_err(|problem| problem.code())
        };
        let (end, earn) = ("\"type\":\"terminate\"", "\"type\":\"earn\",\"points\":5");
        assert_eq!(with(end, &[Scope::Operate]), Ok(()));
        assert_eq!(with(end, &[Scope::Publish, Scope::Read]), Err("insufficient_scope"));
        assert_eq!(with(earn, &[Scope::Publish]), Ok(()));
        assert_eq!(with(earn, &[Scope::Operate, Scope::Read]), Err("insufficient_scope"));
    }
}
