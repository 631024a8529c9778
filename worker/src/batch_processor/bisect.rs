//! A batch that PostgreSQL refuses is halved until the culprit is alone, and the culprit is dead-lettered. Everybody
//! else's commands are applied.

use std::collections::VecDeque;

use loyalty_common::error_chain::chain;
use loyalty_store::StoreError;
use loyalty_store::dead_letters::{Reason, Unusable};
use tracing::warn;

use crate::message::{Content, Message};

/// How often a command alone may be cut short by the server before it is dead-lettered. With the waits in between it
/// takes minutes: a storage that stalls is no fault of the command.
const CUT_SHORT_TRIES: u32 = 5;

/// Whether a failure lies in the part itself, so that halving it or setting it aside helps. A dead letter that cannot
/// be stored is our fault: it is tried again and never dropped.
pub(super) fn helps(part: &[Message], error: &StoreError, attempt: u32) -> bool {
    match part {
        [Message { content: Content::Unusable(_), .. }] => false,
        [_] => error.is_content_refused() || (error.is_cut_short() && attempt >= CUT_SHORT_TRIES),
        _ => error.is_content_refused() || error.is_cut_short(),
    }
}

/// Puts the halves of the part before the others, so that the order stays; of a single message, what becomes of it.
pub(super) fn bisect(mut part: Vec<Message>, refusal: &StoreError, parts: &mut VecDeque<Vec<Message>>) {
    let second = part.split_off(part.len().div_ceil(2));
    if second.is_empty() {
        for message in &mut part {
            dead_letter(message, refusal);
        }
    } else {
        parts.push_front(second);
    }
    parts.push_front(part);
}

fn dead_letter(message: &mut Message, refusal: &StoreError) {
    let error = chain(refusal);
    if let Content::Command(command) = &message.content {
        let (id, member, trace) = (command.command_id, &command.member_id, message.trace_id());
        warn!(command.id = %id, member.id = member.masked(), trace.id = trace, error, "PostgreSQL refuses a command; dead-lettered it");
    }
    message.content = Content::Unusable(Unusable { reason: Reason::Failed, error });
}
