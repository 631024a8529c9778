//! A URL as it was given, not read yet. clap quotes a value that it cannot read; so it reads none of these.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A text that may hold a password, in the right place or not.
#[derive(Clone)]
pub(super) struct UnparsedUrl(String);

impl UnparsedUrl {
    /// To be read, and never shown.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UnparsedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a URL)")
    }
}

impl FromStr for UnparsedUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
impl From<&str> for UnparsedUrl {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}
