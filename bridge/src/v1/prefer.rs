//! The header `Prefer: wait=SECONDS` (RFC 7240): the client would rather have the receipt than a place to ask for it.
//!
//! A preference that makes no sense is left out, as the standard asks; the answer's `Preference-Applied` says what was
//! done.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The answer's header.
pub(crate) const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long to wait for a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    seconds: u64,
}

impl Wait {
    /// The wait that a request prefers, if it does; never more than `max`.
    pub(crate) fn of(headers: &HeaderMap, max: Duration) -> Option<Self> {
        let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut preferences = texts.flat_map(|text| text.split(','));
        // The first one counts, as the standard has it.
        let wait = preferences.find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
        })?;
        let plain = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit are a long wait.
        plain.then(|| Self { seconds: wait.parse().unwrap_or(u64::MAX).min(max.as_secs()) })
    }

    pub(crate) const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// What the answer says of it.
    pub(crate) fn applied(self) -> HeaderValue {
        HeaderValue::try_from(format!("wait={}", self.seconds)).expect("digits are printable")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_taken_from_among_other_preferences_and_bounded() {
        let check = |values: &[&str], seconds: Option<u64>| {
            let values = values.iter().map(|value| (PREFER, value.parse().expect("a header")));
            let headers: HeaderMap = values.collect();
            assert_eq!(Wait::of(&headers, Duration::from_secs(5)).map(|wait| wait.seconds), seconds, "{headers:?}");
        };
        check(&["wait=2"], Some(2));
        check(&["respond-async, Wait = \"3\"; x=1"], Some(3));
        check(&["respond-async", "wait=4"], Some(4));
        check(&["wait=0"], Some(0));
        check(&["wait=60"], Some(5));
        check(&["wait=99999999999999999999999"], Some(5));
        for wrong in ["wait", "wait=", "wait=-1", "wait=1.5", "wait=soon", "waiting=5", ""] {
            check(&[wrong], None);
        }
    }
}
