//! The body of a request and what its headers say of it.

use std::error::Error;
use std::time::Duration;

use axum::body::{Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::LengthLimitError;

use crate::problem::{Code, Problem};

/// The whole body, at most `max_bytes` of it, within `body_timeout`.
pub(crate) async fn read(request: Request, max_bytes: usize, body_timeout: Duration) -> Result<Bytes, Problem> {
    if !is_plain(request.headers()) {
        return Err(Problem::of_field(Code::ContentEncoding, "content-encoding", "must be identity, or be left out"));
    }
    let too_large = || Problem::new(Code::TooLarge, format!("a body may have at most {max_bytes} bytes here"));
    // Who asks whether to send it (`Expect: 100-continue`) is asked for it by the first look into it.
    if request.body().size_hint().lower() > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    match tokio::time::timeout(body_timeout, to_bytes(request.into_body(), max_bytes)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) => Err(too_large()),
        // The connection broke, or its framing is wrong. Hardly anybody is left to read this.
        Ok(Err(_)) => Err(Problem::invalid("body", "ended too early")),
        Err(_) => Err(Problem::new(Code::TooSlow, "the body did not arrive in time")),
    }
}

/// Whether the body is what it is, rather than packed: a small one could become any size.
fn is_plain(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether the body is of this media type by its own account, whatever its parameters.
pub(crate) fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}
