//! What a command says of a member's address and name, and what of it may be kept to tell a repeat from a conflict.
//!
//! The ledger is kept for ever and an address must not be: a row keeps a hash that is keyed with a random value in the
//! member's row. That value is erased with the address, and then nobody can tell any more what was hashed.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use loyalty_common::{Change, EmailAddress, MemberId, Text};
use sha2::Sha256;

/// 128 bits: more than anybody can try, and no more than that beside each address.
const KEY_BYTES: usize = 16;

/// Tells which key a hash was made with. Hashes of different keys cannot be compared; that two keys of one member have
/// the same mark is as likely as one in four thousand million.
const MARK_BYTES: usize = 4;

/// A member's random value, with which hashes of their address and name are keyed.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactKey([u8; KEY_BYTES]);

impl ContactKey {
    /// As the member's row has it.
    pub fn from_row(bytes: Option<&[u8]>) -> Option<Self> {
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self)
    }

    /// For the member's row.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn hash(&self, text: &str) -> Vec<u8> {
        let mut kept = keyed(&self.0, &[])[..MARK_BYTES].to_vec();
        kept.extend(keyed(&self.0, text.as_bytes()));
        kept
    }

    /// Whether a hash was made with this key.
    fn made(&self, kept: &[u8]) -> bool {
        kept.starts_with(&keyed(&self.0, &[])[..MARK_BYTES])
    }
}

impl fmt::Debug for ContactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContactKey")
    }
}

/// Randomness for the keys of one batch: whoever decides what is written draws none.
#[derive(Clone)]
pub struct ContactSeed([u8; 32]);

impl ContactSeed {
    /// The caller's randomness.
    pub const fn of(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The key that this seed gives to one row of the ledger; no two get the same.
    pub fn key(&self, member_id: &MemberId, seq: i64) -> ContactKey {
        let hash = keyed(&self.0, format!("{member_id} {seq}").as_bytes());
        ContactKey(std::array::from_fn(|at| hash[at]))
    }
}

impl fmt::Debug for ContactSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContactSeed")
    }
}

fn keyed(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// What a command says of one part of a contact: of the address, or of the name. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub enum StatedValue {
    /// Its type says nothing of it; or an older release has kept it in a way that is gone.
    Nothing,
    /// It leaves it out.
    LeftOut,
    /// It clears it.
    Cleared,
    /// It gives this one.
    Given(String),
    /// It gave one of which this is kept.
    Kept(KeptHash),
}

/// What is kept of an address or a name, and the key that it may be compared with, if that is still there.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptHash {
    /// Empty, if there was no key to hash with.
    hash: Vec<u8>,
    key: Option<ContactKey>,
}

impl StatedValue {
    /// What an update says of one part.
    pub(crate) fn of_change<T>(change: &Change<T>, text: impl Fn(&T) -> &str) -> Self {
        match change {
            Change::Keep => Self::LeftOut,
            Change::Clear => Self::Cleared,
            Change::Set(value) => Self::Given(text(value).to_owned()),
        }
    }

    /// As a row of the ledger has it.
    pub fn from_row(bytes: Option<&[u8]>, key: Option<&ContactKey>) -> Self {
        match bytes {
            None => Self::Nothing,
            Some([]) => Self::LeftOut,
            Some([0]) => Self::Cleared,
            Some([_]) => Self::Kept(KeptHash { hash: Vec::new(), key: None }),
            Some(hash) => Self::Kept(KeptHash { hash: hash.to_vec(), key: key.cloned() }),
        }
    }

    /// For a row of the ledger, in which a value never stands as it is.
    pub fn to_row(&self) -> Option<Vec<u8>> {
        match self {
            Self::Nothing => None,
            Self::LeftOut => Some(Vec::new()),
            Self::Cleared => Some(vec![0]),
            Self::Kept(KeptHash { hash, .. }) if !hash.is_empty() => Some(hash.clone()),
            Self::Given(_) | Self::Kept(_) => Some(vec![1]),
        }
    }

    /// What may be kept of it, beside a member with this key or none.
    #[must_use]
    pub fn kept(self, key: Option<&ContactKey>) -> Self {
        let hash = match self {
            Self::Nothing | Self::LeftOut | Self::Cleared => return self,
            Self::Given(text) => key.map(|key| key.hash(&text)).unwrap_or_default(),
            Self::Kept(KeptHash { hash, .. }) => hash,
        };
        Self::Kept(KeptHash { hash, key: key.cloned() })
    }

    /// Whether the two certainly differ. What can no longer be compared does not.
    pub fn differs(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, _)
            | (_, Self::Nothing)
            | (Self::LeftOut, Self::LeftOut)
            | (Self::Cleared, Self::Cleared) => false,
            (Self::Given(one), Self::Given(other)) => one != other,
            (Self::Given(text), Self::Kept(kept)) | (Self::Kept(kept), Self::Given(text)) => kept.is_of_other(text),
            (Self::Kept(one), Self::Kept(other)) => {
                let comparable = |kept: &KeptHash| kept.key.as_ref().is_some_and(|key| key.made(&kept.hash));
                comparable(one) && comparable(other) && one.key == other.key && one.hash != other.hash
            }
            (Self::LeftOut | Self::Cleared | Self::Given(_) | Self::Kept(_), _) => true,
        }
    }
}

impl KeptHash {
    fn is_of_other(&self, text: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.made(&self.hash) && key.hash(text) != self.hash)
    }
}

impl fmt::Debug for StatedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::LeftOut => "LeftOut",
            Self::Cleared => "Cleared",
            Self::Given(_) => "Given",
            Self::Kept(_) => "Kept",
        })
    }
}

/// Address and name of a member while a batch is applied. It need not know them to leave them as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Where the member's emails go.
    pub email: ContactPart,
    /// How emails address the member.
    pub name: ContactPart,
    /// What hashes of them are keyed with; none, if there is neither.
    pub key: Option<ContactKey>,
}

/// One part of a contact.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum ContactPart {
    /// There is none.
    #[default]
    Nothing,
    /// The one that stands in the member's row.
    Stored,
    /// This one, to be written there.
    New(String),
}

/// What a command does to a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactChange<'a> {
    pub email: Change<&'a EmailAddress>,
    pub name: Change<&'a Text>,
}

impl ContactChange<'_> {
    /// It stays as it is.
    pub const KEEP: Self = Self { email: Change::Keep, name: Change::Keep };

    /// Who leaves is forgotten; the ledger knows them by their id only.
    pub const ERASE: Self = Self { email: Change::Clear, name: Change::Clear };

    /// Whether it changes nothing.
    pub const fn is_keep(&self) -> bool {
        self.email.is_keep() && self.name.is_keep()
    }
}

impl Contact {
    /// Whether there is neither address nor name.
    pub fn is_empty(&self) -> bool {
        !self.email.is_there() && !self.name.is_there()
    }

    /// Changes it. `new_key` is made when the first address or name is written. A key goes with the last of them, and
    /// also with a value that is replaced: the ledger's older hashes of it cannot be compared any more.
    pub fn change(&mut self, change: &ContactChange<'_>, new_key: impl FnOnce() -> ContactKey) {
        let replaced = |part_is_kept: bool, held: &ContactPart| !part_is_kept && held.is_there();
        if replaced(change.email.is_keep(), &self.email) || replaced(change.name.is_keep(), &self.name) {
            self.key = None;
        }
        self.email.change(&change.email, EmailAddress::expose);
        self.name.change(&change.name, Text::as_str);
        self.key = if self.is_empty() { None } else { self.key.take().or_else(|| Some(new_key())) };
    }
}

impl ContactPart {
    /// Whether there is one.
    pub const fn is_there(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    fn change<T>(&mut self, part: &Change<&T>, text: impl Fn(&T) -> &str) {
        match part {
            Change::Keep => {}
            Change::Clear => *self = Self::Nothing,
            Change::Set(value) => *self = Self::New(text(value).to_owned()),
        }
    }

    /// Whether it is the one that stands in the row.
    pub const fn is_stored(&self) -> bool {
        matches!(self, Self::Stored)
    }

    /// The one to be written there.
    pub fn new_value(&self) -> Option<&str> {
        match self {
            Self::New(value) => Some(value),
            Self::Nothing | Self::Stored => None,
        }
    }
}

impl From<Option<String>> for ContactPart {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::Nothing, Self::New)
    }
}

impl fmt::Debug for ContactPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Stored => "Stored",
            Self::New(_) => "New",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> StatedValue {
        StatedValue::Given(text.to_owned())
    }

    fn key(seq: i64) -> ContactKey {
        ContactSeed::of([7; 32]).key(&"ann".parse().expect("a member id"), seq)
    }

    /// Through a row and back, beside a member with this key.
    fn stored(said: &StatedValue, written_with: Option<&ContactKey>, read_with: Option<&ContactKey>) -> StatedValue {
        StatedValue::from_row(said.clone().kept(written_with).to_row().as_deref(), read_with)
    }

    #[test]
    fn while_the_key_is_there_every_difference_is_told() {
        let key = key(1);
        let all = [StatedValue::LeftOut, StatedValue::Cleared, given("ann@example.com"), given("bob@example.com")];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                let differs = at != other_at;
                assert_eq!(one.differs(other), differs, "{one:?} {other:?}");
                let first = stored(one, Some(&key), Some(&key));
                assert_eq!(first.differs(other), differs, "{first:?} {other:?}");
                assert_eq!(first.differs(&other.clone().kept(Some(&key))), differs, "{first:?} {other:?}");
            }
        }
    }

    #[test]
    fn without_the_key_or_with_another_nobody_can_tell_one_value_from_another() {
        let (old, new) = (key(1), key(2));
        for read_with in [None, Some(&new)] {
            let first = stored(&given("ann@example.com"), Some(&old), read_with);
            assert!(!first.differs(&given("bob@example.com")), "{read_with:?}");
            assert!(!first.differs(&given("bob@example.com").kept(read_with)), "{read_with:?}");
            assert!(first.differs(&StatedValue::LeftOut), "that there was one is not personal");
        }
        let hash_of = |key: &ContactKey| key.hash("ann@example.com").split_off(MARK_BYTES);
        assert_ne!(hash_of(&old), hash_of(&new), "who has no key must not find a value by trying values");
        let nothing_kept = stored(&given("ann@example.com"), None, Some(&new));
        assert!(!nothing_kept.differs(&given("bob@example.com")) && nothing_kept.differs(&StatedValue::Cleared));
        let older = StatedValue::from_row(None, Some(&new));
        assert!(!older.differs(&given("ann@example.com")) && !older.differs(&StatedValue::LeftOut));
    }

    #[test]
    fn a_row_never_holds_a_value_and_nothing_shows_one() {
        let said = given("ann@example.com");
        assert_eq!(said.to_row(), Some(vec![1]));
        assert_eq!(said.clone().kept(Some(&key(1))).to_row().map(|kept| kept.len()), Some(36));
        let email = Some("ann@example.com".to_owned()).into();
        let contact = Contact { email, key: Some(key(1)), ..Contact::default() };
        assert_eq!(
            format!("{said:?} {contact:?}"),
            "Given Contact { email: New, name: Nothing, key: Some(ContactKey) }"
        );
    }
}
