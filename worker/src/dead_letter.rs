//! A delivery as a dead letter: what every one of them keeps of the message, whoever sets it aside.
//!
//! The body stays byte for byte. The database's texts have no place for U+0000, which AMQP's may hold: a dead letter
//! that could not be stored for that would stop all that come after it.

use lapin::message::Delivery;
use loyalty_store::dead_letters::{NewDeadLetter, Reason};

use crate::headers::{self, storable};

/// A delivery of the queue `source`, set aside. Whose it is, the caller adds if that is known.
pub(crate) fn dead_letter(delivery: &Delivery, source: String, reason: Reason, error: String) -> NewDeadLetter {
    let properties = &delivery.properties;
    NewDeadLetter {
        source,
        reason,
        error,
        member_id: None,
        command_id: None,
        command_type: None,
        email_id: None,
        exchange: storable(delivery.exchange.as_str()),
        routing_key: storable(delivery.routing_key.as_str()),
        message_id: properties.message_id().as_ref().map(ToString::to_string),
        headers: headers::to_json(properties),
        body: delivery.data.clone(),
        repeated: delivery.redelivered,
    }
}
