//! A message as the publisher takes it.

use lapin::BasicProperties;

/// A message on its way out.
#[derive(Clone, Debug)]
pub struct Message {
    /// The exchange it goes to.
    pub exchange: &'static str,
    /// Where the exchange should lead it.
    pub routing_key: String,
    /// Whether it is refused when no queue takes it; otherwise the broker confirms and drops it.
    pub mandatory: bool,
    /// Its properties, `message_id` among them.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Vec<u8>,
}
