//! The message that asks for an email to be sent. It names the email and nothing else: an address never travels through
//! the broker.

use serde::Deserialize;
use uuid::Uuid;

use super::EmailId;

/// The AMQP property `type` of a request.
pub const MESSAGE_TYPE: &str = "loyalty.email.v1";

const VERSION: u64 = 1;

/// The body of a request.
pub fn encode(email_id: EmailId) -> Vec<u8> {
    format!(r#"{{"v":{VERSION},"email_id":"{email_id}"}}"#).into_bytes()
}

/// The email that a body asks for.
pub fn decode(body: &[u8]) -> Result<EmailId, NoRequest> {
    let wire: Wire = serde_json::from_slice(body).map_err(|_| NoRequest::Malformed)?;
    if wire.v == VERSION { Ok(EmailId::from(wire.email_id)) } else { Err(NoRequest::UnknownVersion) }
}

/// Why a body asks for no email. The texts never contain what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    /// It is not the JSON object of the contract.
    #[error("the body must be a JSON object of `v` and `email_id`")]
    Malformed,
    /// A version that this release does not speak.
    #[error("`v` must be 1")]
    UnknownVersion,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u64,
    email_id: Uuid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_email_and_nothing_else() {
        let body = r#"{"v":1,"email_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11"}"#;
        let email_id = decode(body.as_bytes()).expect("a request");
        assert_eq!(String::from_utf8(encode(email_id)).expect("JSON is UTF-8"), body);
    }

    #[test]
    fn what_asks_for_no_email_is_refused() {
        let check = |from: &str, to: &str, expected: NoRequest| {
            let body = r#"{"v":1,"email_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11"}"#.replace(from, to);
            assert_eq!(decode(body.as_bytes()), Err(expected), "{body}");
        };
        check("\"v\":1", "\"v\":2", NoRequest::UnknownVersion);
        check("\"v\":1", "\"v\":1,\"to\":\"ann@example.com\"", NoRequest::Malformed);
        check("019a8f2e", "", NoRequest::Malformed);
        check("}", "", NoRequest::Malformed);
    }
}
