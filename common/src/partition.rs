//! Which queue a member's commands travel on. All commands of a member share one queue, so that they stay in order.
//!
//! The sender computes it, because RabbitMQ's consistent-hash exchange promises no stable routing across restarts.
//! CRC-32 is in the standard library of nearly every language: `"%02d" % (zlib.crc32(b"123") % 16)`.

use std::fmt;

use crate::ids::MemberId;

/// How many command queues there are. Part of the contract: changing it moves members between queues and breaks
/// their order while old messages remain.
pub const PARTITIONS: u8 = 16;

/// One of the command queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// The partition of a member: CRC-32 (as in zlib) of the id's bytes, modulo 16.
    pub fn of(member_id: &MemberId) -> Self {
        let partition = crc32fast::hash(member_id.as_str().as_bytes()) % u32::from(PARTITIONS);
        Self(u8::try_from(partition).expect("a remainder of 16 fits a byte"))
    }

    /// All partitions in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// The number, 0 to 15.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The routing key: the number in two digits.
    pub fn routing_key(self) -> String {
        self.to_string()
    }

    /// The queue that the key leads to.
    pub fn queue(self) -> String {
        format!("loyalty.commands.{self}")
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What any publisher in any language can check itself against; computed with Python's zlib.
    const VECTORS: &str = include_str!("../../docs/partition-vectors.json");

    #[derive(serde::Deserialize)]
    struct Vector {
        member_id: String,
        routing_key: String,
    }

    #[test]
    fn the_published_vectors_hold() {
        let vectors: Vec<Vector> = serde_json::from_str(VECTORS).expect("a list of vectors");
        assert!(!vectors.is_empty());
        for Vector { member_id, routing_key } in vectors {
            let member: MemberId = member_id.parse().expect("a member id");
            assert_eq!(Partition::of(&member).routing_key(), routing_key, "{member}");
        }
    }
}
