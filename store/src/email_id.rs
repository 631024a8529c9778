//! The id of an email.

use std::fmt;

use jiff::civil::Date;
use loyalty_common::{MemberId, Partition};
use uuid::{Builder, Uuid};

/// Derived from what it tells of, so that the same reward, or the same day of points, always has the
/// same email, and a resend is recognisable.
///
/// Its first four bits are the member's partition: a request, a dead letter or an operator that names an email says
/// with the id where its row is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailId(Uuid);

/// The namespace of the hashes that ids of emails are made of: a random UUID, fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_9ab4_6f0e_4b7c_9d6a_3c1e_88f2_b1d7);

impl EmailId {
    /// Of the one email of a reward.
    pub fn of_reward(member_id: &MemberId, epoch: i32, number: i64) -> Self {
        Self::derived(member_id, epoch, number)
    }

    /// Of the one warning of the points of a day. A day is never spelled like a number.
    pub fn of_warning(member_id: &MemberId, epoch: i32, expires_on: Date) -> Self {
        Self::derived(member_id, epoch, expires_on)
    }

    fn derived(member_id: &MemberId, epoch: i32, which: impl fmt::Display) -> Self {
        let mut bytes = Uuid::new_v5(&NAMESPACE, format!("{member_id}/{epoch}/{which}").as_bytes()).into_bytes();
        bytes[0] = Partition::of(member_id).number() << 4 | bytes[0] & 0x0f;
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }

    pub(crate) fn partition(self) -> i16 {
        i16::from(self.0.as_bytes()[0] >> 4)
    }

    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for EmailId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for EmailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_email_names_its_members_partition_and_is_always_the_same() {
        let id = |member: &str, number| EmailId::of_reward(&member.parse().expect("a member id"), 1, number);
        for member in ["ann", "bob", "123", "member-7"] {
            let partition = crate::partition::partition(&member.parse().expect("a member id"));
            assert_eq!(id(member, 1).partition(), partition, "{member}");
            assert_eq!(id(member, 1).to_string().chars().next(), char::from_digit(partition.unsigned_abs().into(), 16));
        }
        assert_ne!(id("ann", 1), id("ann", 2));
        assert_eq!(
            id("ann", 1).to_string(),
            "3d2b1a79-9530-8ad5-87b2-9fdb9030ce3e",
            "emails that were sent are known by it"
        );
        let of_day = |day: &str| {
            EmailId::of_warning(&"ann".parse().expect("a member id"), 1, day.parse().expect("a day")).to_string()
        };
        assert_eq!(of_day("2026-12-31"), "3f86f242-9fbe-8620-b5fd-ad07b593e482");
        assert_ne!(of_day("2026-12-31"), of_day("2026-12-30"));
    }
}
