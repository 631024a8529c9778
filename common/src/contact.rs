//! What an `update` asks for: a member's address and name, each left as it is, cleared, or set.

use serde::{Serialize, Serializer};

use crate::text::{EmailAddress, Invalid, Text};

/// What becomes of a value that need not be there. On the wire: a field that is missing, `null`, or a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change<T> {
    /// It stays as it is.
    Keep,
    /// There is none from now on.
    Clear,
    /// It is this one from now on.
    Set(T),
}

impl<T> Change<T> {
    /// The same of something that the value has.
    pub(crate) fn map<'a, U>(&'a self, part: impl Fn(&'a T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(part(value)),
        }
    }

    /// The same of the value in its place.
    pub const fn as_ref(&self) -> Change<&T> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(value),
        }
    }

    /// Whether it changes nothing.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// Whether it is there at all, its field decides.
impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

/// A change of a member's address, of the name, or of both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContactUpdate {
    email: Change<EmailAddress>,
    name: Change<Text>,
}

impl ContactUpdate {
    /// The change, if it changes one of them.
    pub fn try_new(email: Change<EmailAddress>, name: Change<Text>) -> Result<Self, Invalid> {
        if email.is_keep() && name.is_keep() {
            return Err(Invalid::new("or `name` must be given: a value, or null to clear it"));
        }
        Ok(Self { email, name })
    }

    /// What becomes of the address.
    pub const fn email(&self) -> &Change<EmailAddress> {
        &self.email
    }

    /// What becomes of the name.
    pub const fn name(&self) -> &Change<Text> {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_changes_something() {
        let error = ContactUpdate::try_new(Change::Keep, Change::Keep).expect_err("nothing is changed").to_string();
        assert_eq!(error, "or `name` must be given: a value, or null to clear it");
        assert!(ContactUpdate::try_new(Change::Keep, Change::Clear).is_ok());
    }
}
