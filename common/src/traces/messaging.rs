//! Spans of messages, in the words of OpenTelemetry's conventions for messaging and RabbitMQ.

use lapin::BasicProperties;
use lapin::message::Delivery;

use super::{Kind, Span};
use crate::publisher::message::Message;
use crate::publisher::publish_error::PublishError;
use crate::trace_context::TraceContext;

/// Begins to publish a message: from here on it says that it comes from this span. Only what is part of a trace is
/// told of.
pub(crate) fn publishing(message: &mut Message) -> Span {
    // Looking for a trace costs something, and most processes record none.
    let came = if super::are_recorded() { TraceContext::of(&message.properties) } else { None };
    // One name for all keys of an exchange: the sixteen partitions are one thing to look at.
    let mut span = Span::within(Kind::Producer, format_args!("publish {}", message.exchange), came);
    if !span.is_recorded() {
        return span;
    }
    let (exchange, key) = (message.exchange, message.routing_key.as_str());
    span.says("messaging.operation.name", &"publish");
    span.says("messaging.operation.type", &"send");
    span.says("messaging.destination.name", &format_args!("{exchange}:{key}"));
    describe(&mut span, key, &message.properties, message.body.len());
    if let Some(context) = span.context() {
        let mut headers = message.properties.headers().clone().unwrap_or_default();
        context.write(&mut headers);
        message.properties = std::mem::take(&mut message.properties).with_headers(headers);
    }
    span
}

/// The broker has the message, or it is known why not.
pub(crate) fn published<T>(mut span: Span, result: &Result<T, PublishError>) {
    if let Err(error) = result {
        span.fails(&error.name(), error);
    }
    span.end();
}

/// Says of a span which message it works on.
pub fn processing(span: &mut Span, delivery: &Delivery, queue: &str) {
    if !span.is_recorded() {
        return;
    }
    let (exchange, key) = (&delivery.exchange, delivery.routing_key.as_str());
    span.says("messaging.operation.name", &"process");
    span.says("messaging.operation.type", &"process");
    span.says("messaging.destination.name", &format_args!("{exchange}:{key}:{queue}"));
    describe(span, key, &delivery.properties, delivery.data.len());
}

/// What is told of a message, whichever way it goes.
fn describe(span: &mut Span, key: &str, properties: &BasicProperties, body_bytes: usize) {
    span.says("messaging.system", &"rabbitmq");
    span.says("messaging.rabbitmq.destination.routing_key", &key);
    if let Some(id) = properties.message_id() {
        span.says("messaging.message.id", id);
    }
    span.counts("messaging.message.body.size", body_bytes);
}
