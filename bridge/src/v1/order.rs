//! From a command as somebody sent it over HTTP to one that can be published: its id, its time, and whether it may be
//! sent this way at all.

use jiff::Timestamp;
use loyalty_common::decode::{DecodeError, decode_draft};
use loyalty_common::{Command, CommandId, CommandType, Draft};

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
    pub(crate) fn single(body: &[u8], key: Option<&IdempotencyKey>) -> Result<Self, Problem> {
        let draft = decode_draft(body).map_err(|error| wrong(&error))?;
        let named = key.map(|key| key.command_id(&draft.member_id));
        if draft.command_id.is_some() && named.is_some() && draft.command_id != named {
            return Err(Problem::invalid(HEADER, "must be the `command_id`, or left out, if the body has one"));
        }
        Self::complete(draft, named)
    }

    /// The command at a line of a batch, counted from 1.
    pub(crate) fn of_line(text: &[u8], line: usize, key: Option<&IdempotencyKey>) -> Result<Self, Problem> {
        let draft = decode_draft(text).map_err(|error| wrong(&error))?;
        if draft.command_id.is_some() && key.is_some() {
            return Err(Problem::invalid("command_id", "must be left out under an Idempotency-Key for the batch"));
        }
        let named = key.map(|key| key.command_id_at(line, &draft.member_id));
        Self::complete(draft, named)
    }

    fn complete(draft: Draft, named: Option<CommandId>) -> Result<Self, Problem> {
        if !is_taken(draft.action.command_type()) {
            return Err(not_taken());
        }
        let repeatable = draft.command_id.is_some() || named.is_some();
        let command = draft.completed(named.unwrap_or_else(CommandId::fresh), Timestamp::now());
        Ok(Self { command, repeatable })
    }
}

fn wrong(error: &DecodeError) -> Problem {
    // Not every type of the contract is taken here.
    if *error == DecodeError::UnknownType { not_taken() } else { Problem::undecodable(error) }
}

fn not_taken() -> Problem {
    let types: Vec<&str> = taken().map(CommandType::as_str).collect();
    Problem::invalid("type", &format!("must be one of {} over HTTP", types.join(", ")))
}

/// The types of commands that are taken over HTTP.
pub(crate) fn taken() -> impl Iterator<Item = CommandType> {
    CommandType::ALL.iter().copied().filter(|command_type| is_taken(*command_type))
}

const fn is_taken(command_type: CommandType) -> bool {
    match command_type {
        CommandType::Enroll | CommandType::Earn | CommandType::Spend | CommandType::Exit => true,
        // It cannot be undone, and nobody here can be asked who they are.
        CommandType::Terminate => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

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
        let named = |text: &str| id(Order::single(&body(None), Some(&key(text))));
        assert_eq!(named("order 991"), named("order 991"));
        assert_ne!(named("order 991"), named("order 992"));
        assert_eq!(named(ID), ID);
        assert_ne!(id(Order::single(&body(None), None)), id(Order::single(&body(None), None)), "fresh ids differ");
    }

    #[test]
    fn a_key_and_an_id_must_not_disagree() {
        assert_eq!(id(Order::single(&body(Some(ID)), Some(&key(ID)))), ID);
        assert!(Order::single(&body(Some(ID)), Some(&key("order 991"))).is_err());
        assert!(Order::of_line(&body(Some(ID)), 1, Some(&key(ID))).is_err());
    }

    #[test]
    fn each_line_under_a_key_is_a_command_of_its_own() {
        let at = |line| id(Order::of_line(&body(None), line, Some(&key("closing 7"))));
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
        assert_ne!(at(1), id(Order::single(&body(None), Some(&key("closing 7 1")))));
    }
}
