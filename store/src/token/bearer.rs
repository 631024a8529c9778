//! A token as its holder has it: `loyalty_`, an id to look it up by, and a secret.
//!
//! The prefix lets scanners of repositories and logs recognise one that got there. Neither `Debug` nor any error shows
//! a secret.

use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "loyalty_";

/// Enough that two of ten thousand ids are not the same by chance.
const ID_BYTES: usize = 8;

/// 256 bits, which nobody guesses.
const SECRET_BYTES: usize = 32;

/// The whole text: prefix, id, `_`, secret; two digits a byte.
const LENGTH: usize = PREFIX.len() + 2 * ID_BYTES + 1 + 2 * SECRET_BYTES;

/// The hash of a token.
///
/// A fast hash is the right one here. Slow ones protect what people choose and others guess; 256 random bits are not
/// guessed at any speed, and a slow hash would let anybody keep a bridge busy with wrong tokens.
pub type Digest = [u8; 32];

/// A token with its secret. Its form is right; whether it is good for anything is not said.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    id: TokenId,
    text: String,
}

impl Bearer {
    /// A token that nobody has.
    pub fn fresh() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        let id = TokenId(hex(id));
        Ok(Self { text: format!("{PREFIX}{id}_{}", hex(secret)), id })
    }

    /// Reads a token.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        (text.len() == LENGTH && secret.bytes().all(is_hex)).then_some(())?;
        Some(Self { id: TokenId::parse(id)?, text: text.to_owned() })
    }

    /// What it is looked up by.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Sha256::digest(&self.text).into()
    }

    /// The whole token. To be shown once, to who made it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    #[cfg(test)]
    pub(super) fn secret(&self) -> &str {
        &self.text[LENGTH - 2 * SECRET_BYTES..]
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_***", self.id)
    }
}

/// Names a token. No secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TokenId(String);

impl TokenId {
    /// Reads an id.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 2 * ID_BYTES && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_itself_and_never_shows_its_secret() {
        let token = Bearer::fresh().expect("randomness");
        assert_eq!(Bearer::parse(token.expose()).as_ref(), Some(&token));
        assert_ne!(Bearer::fresh().expect("randomness"), token);
        assert!(!format!("{token:?}").contains(token.secret()));
        assert!(format!("{token:?}").contains(token.id().as_str()));
    }

    #[test]
    fn what_is_not_of_the_form_is_no_token() {
        let token = Bearer::fresh().expect("randomness").expose().to_owned();
        let upper = token.to_uppercase();
        let long = format!("{token}0");
        let shifted = token.replacen(|c: char| c.is_ascii_digit(), "_", 1);
        for wrong in ["", "loyalty_", "loyalty__", "s3cret", &token[1..], &token[..LENGTH - 1], &upper, &long, &shifted]
        {
            assert_eq!(Bearer::parse(wrong), None, "{wrong}");
        }
    }
}
