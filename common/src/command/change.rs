//! What becomes of a value that need not be there: it is left as it is, cleared, or set.

use serde::{Serialize, Serializer};

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
    /// The same change, of a value that stands elsewhere.
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

/// A value sets, and none keeps what is there.
impl<T> From<Option<T>> for Change<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Keep, Self::Set)
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
