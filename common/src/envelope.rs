//! A command as the AMQP message that the contract asks for: its routing, its properties, its body.
//!
//! Pure: the time of sending is an argument. Every sender of commands goes through here.

use std::time::{SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::command::{Command, MESSAGE_TYPE};
use crate::partition::Partition;
use crate::publisher::Message;
use crate::topology;

pub use crate::trace_context::{TRACESTATE_MAX_BYTES, TraceContext};

/// AMQP's mark of a message that is written to disk.
pub const PERSISTENT: u8 = 2;

/// The property `content_type` of a command.
pub const CONTENT_TYPE: &str = "application/json";

/// The most bytes of the property `app_id`. AMQP allows 255 and ends the connection over more.
pub const APP_ID_MAX_BYTES: usize = 100;

/// The message that carries a command. `app_id` names the sender, shortened to its first 100 bytes.
pub fn message(command: &Command, app_id: &str, trace: Option<&TraceContext>, sent_at: SystemTime) -> Message {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(CONTENT_TYPE.into())
        .with_message_id(command.command_id.to_string().into())
        .with_type(MESSAGE_TYPE.into())
        .with_timestamp(seconds(sent_at))
        .with_app_id(ShortString::from(cut(app_id, APP_ID_MAX_BYTES)));
    if let Some(trace) = trace {
        properties = properties.with_headers(trace.headers());
    }
    Message {
        exchange: topology::COMMANDS,
        routing_key: Partition::of(&command.member_id).routing_key(),
        mandatory: true,
        properties,
        body: command.encode(),
    }
}

/// The header by which a message says that it is a dead letter sent again; its value is the dead letter's number. What
/// becomes a dead letter once more is known by it, and belongs to the old one.
pub const REPLAY_OF_HEADER: &str = "x-loyalty-replay-of";

/// The message that carries the command of a dead letter once more.
pub fn replay(command: &Command, dead_letter_id: i64, sent_at: SystemTime) -> Message {
    let mut message = message(command, "loyalty-replay", None, sent_at);
    let mut headers = FieldTable::default();
    headers.insert(REPLAY_OF_HEADER.into(), AMQPValue::LongLongInt(dead_letter_id));
    message.properties = message.properties.with_headers(headers);
    message
}

/// Seconds since 1970, which is what AMQP counts. A clock before that is as good as none.
fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The longest beginning of a text that has at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= bytes).last();
    &text[..end.unwrap_or(0)]
}

/// How a trace travels with a message.
impl TraceContext {
    /// The context that came with a message, if it is one.
    pub fn of(properties: &BasicProperties) -> Option<Self> {
        let headers = properties.headers().as_ref()?.inner();
        let text = |name: &str| headers.get(name).and_then(text_of);
        Self::parse(text("traceparent")?, text("tracestate"))
    }

    /// Both as headers of a message.
    pub fn headers(&self) -> FieldTable {
        let mut headers = FieldTable::default();
        self.write(&mut headers);
        headers
    }

    /// Puts both among the headers of a message, in the place of what these say.
    pub(crate) fn write(&self, headers: &mut FieldTable) {
        headers.insert("traceparent".into(), AMQPValue::LongString(self.traceparent().into()));
        if let Some(state) = self.tracestate() {
            headers.insert("tracestate".into(), AMQPValue::LongString(state.into()));
        }
    }
}

/// A header's text, however the publisher's library encodes texts.
fn text_of(value: &AMQPValue) -> Option<&str> {
    match (value.as_long_string(), value.as_short_string()) {
        (Some(long), _) => std::str::from_utf8(long.as_bytes()).ok(),
        (None, Some(short)) => Some(short.as_str()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Action, Earn};
    use crate::values::Points;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn earn() -> Command {
        let points = Points::try_new(50).expect("points");
        let mut command = Command::new("123".parse().expect("a member id"), Action::Earn(Earn { points }));
        command.command_id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID");
        command
    }

    /// The properties are public: receivers check `type` and `message_id`.
    #[test]
    fn the_properties_are_those_of_the_contract() {
        let trace = TraceContext::parse(TRACEPARENT, Some("vendor=1")).expect("a trace");
        let sent_at = UNIX_EPOCH + std::time::Duration::from_secs(1_795_341_600);
        let message = message(&earn(), "till", Some(&trace), sent_at);
        assert_eq!((message.exchange, message.routing_key.as_str()), ("loyalty.commands", "02"));
        let properties = message.properties;
        assert_eq!(TraceContext::of(&properties), Some(trace), "it is read as it was written");
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some("application/json"));
        assert_eq!(
            properties.message_id().as_ref().map(ShortString::as_str),
            Some("019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11")
        );
        assert_eq!(properties.kind().as_ref().map(ShortString::as_str), Some("loyalty.command.v1"));
        assert_eq!(*properties.timestamp(), Some(1_795_341_600));
        assert_eq!(properties.app_id().as_ref().map(ShortString::as_str), Some("till"));
        let headers = properties.headers().as_ref().expect("headers").inner();
        assert_eq!(headers.get("traceparent"), Some(&AMQPValue::LongString(TRACEPARENT.into())));
        assert_eq!(headers.get("tracestate"), Some(&AMQPValue::LongString("vendor=1".into())));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let message = message(&earn(), &"ü".repeat(200), None, UNIX_EPOCH);
        let app_id = message.properties.app_id().clone().expect("an app id");
        assert_eq!(app_id.as_str(), "ü".repeat(50));
        assert!(message.properties.headers().is_none());
    }
}
