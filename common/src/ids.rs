//! Who and which: the two ids that every command carries. Made only by `parse`, so that a value of these types is
//! always one that the wire, the routing and the database accept.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use uuid::{Builder, Uuid, Version};

use crate::email_address::mask;
use crate::values::Invalid;

/// The longest member id in bytes. Part of the contract.
pub const MEMBER_ID_MAX_BYTES: usize = 64;

/// A UUID's 32 digits and 4 hyphens; no other form that the `uuid` crate reads has as many.
const HYPHENATED_BYTES: usize = 36;

/// A member of the programme: 1 to 64 bytes of printable ASCII without spaces.
///
/// Cheap to clone: a batch names each member several times.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// The id, if it is one.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let length_fits = (1..=MEMBER_ID_MAX_BYTES).contains(&text.len());
        if length_fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("must be 1 to 64 bytes of printable ASCII without spaces"))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id for logs and traces. Some shops take email addresses for ids, and no log holds an address.
    pub fn masked(&self) -> String {
        mask(&self.0)
    }
}

impl std::borrow::Borrow<str> for MemberId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl std::str::FromStr for MemberId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

/// The namespace of the ids of rows that no command asked for: a random UUID, fixed for ever.
const SYSTEM_ROWS: Uuid = Uuid::from_u128(0x5b0e_94c7_6a1d_4f38_8e52_c3a9_1d70_f6b4);

/// The idempotency key of a command, made by its sender and scoped to the member. Version 7 is preferred, since ids
/// that rise with time keep the database's index compact.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct CommandId(Uuid);

impl CommandId {
    /// The id, if the text is a UUID as RFC 9562 writes it: with hyphens, without braces or `urn:uuid:`, which not
    /// every reader of the queue would understand.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let id = if text.len() == HYPHENATED_BYTES { Uuid::try_parse(text).ok() } else { None };
        id.map(Self).ok_or_else(|| Invalid::new("must be a UUID such as 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11"))
    }

    /// A fresh id that rises with time.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The same id for the same text: for senders that know a command by something else than a UUID. `scope` keeps
    /// the texts of different senders apart.
    pub fn derived(scope: &Uuid, text: &str) -> Self {
        Self(Uuid::new_v5(scope, text.as_bytes()))
    }

    /// The id of a row that no command asked for: the same for the same place in the same ledger. Of version 8, which
    /// no sender may use, so that nobody can be in its place.
    pub fn of_system_row(member_id: &MemberId, seq: i64) -> Self {
        let hash = Uuid::new_v5(&SYSTEM_ROWS, format!("{seq}/{member_id}").as_bytes());
        Self(Builder::from_custom_bytes(*hash.as_bytes()).into_uuid())
    }

    /// Whether it is of those that [`of_system_row`](Self::of_system_row) makes.
    pub fn is_of_system_row(self) -> bool {
        self.0.get_version() == Some(Version::Custom)
    }

    /// The UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for CommandId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for CommandId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_id_is_short_printable_ascii() {
        let check = |text: &str, fits: bool| assert_eq!(MemberId::parse(text).is_ok(), fits, "{text:?}");
        check("123", true);
        check("00004", true);
        check("a/b:c@d", true);
        check(&"x".repeat(64), true);
        check(&"x".repeat(65), false);
        check("", false);
        check("a b", false);
        check("a\n", false);
        check("é", false);
    }

    #[test]
    fn an_id_that_is_an_address_is_masked_for_logs() {
        let masked = |id: &str| MemberId::parse(id).expect(id).masked();
        assert_eq!((masked("ann.smith@example.com").as_str(), masked("00004").as_str()), ("a***@example.com", "00004"));
    }

    /// They stand in ledgers, which never change.
    #[test]
    fn a_row_that_no_command_asked_for_has_the_same_id_for_ever() {
        let id = |member: &str, seq| CommandId::of_system_row(&member.parse().expect("a member id"), seq);
        assert_eq!(id("ann", 7).to_string(), "11efcb7e-e6d4-8bc0-aa8a-20c774131170");
        assert!(id("ann", 7).is_of_system_row() && !CommandId::fresh().is_of_system_row());
        assert_ne!(id("ann", 7), id("ann", 8));
        assert_ne!(id("ann", 7), id("bob", 7));
    }

    #[test]
    fn a_command_id_is_a_uuid_with_hyphens() {
        let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
        assert_eq!(CommandId::parse(&id.to_uppercase()), CommandId::parse(id));
        for wrong in ["", "123", &id.replace('-', ""), &format!("{{{id}}}"), &format!("urn:uuid:{id}"), &id[1..]] {
            assert!(CommandId::parse(wrong).is_err(), "{wrong}");
        }
    }
}
