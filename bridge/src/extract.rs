//! The variable parts of a path: a member, points, a command. Checked here, before anything is done.

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::request::Parts;
use loyalty_common::{CommandId, MemberId, Points};

use crate::problem::Problem;

/// Paths of our own, and therefore no member ids where those stand first.
pub(crate) const RESERVED: [&str; 6] = ["healthz", "readyz", "metrics", "v1", "docs", "openapi.json"];

/// How the paths of our own interface begin.
const V1: &str = "/v1/";

/// The variable parts of a path.
#[derive(Debug)]
pub(crate) struct PathParams {
    /// Whom the request is about.
    pub(crate) member_id: MemberId,
    points: Option<String>,
    command_id: Option<String>,
}

impl PathParams {
    /// The points in the path.
    pub(crate) fn points(&self) -> Result<Points, Problem> {
        let text = self.points.as_deref().unwrap_or_default();
        // Some read such a number as octal.
        if text.starts_with('0') && text.len() > 1 {
            return Err(Problem::invalid("points", "must be a whole number without leading zeros, such as 7"));
        }
        text.parse().map_err(|why| Problem::not_allowed("points", &why))
    }

    /// The command id in the path.
    pub(crate) fn command_id(&self) -> Result<CommandId, Problem> {
        let text = self.command_id.as_deref().unwrap_or_default();
        CommandId::parse(text).map_err(|why| Problem::not_allowed("command_id", &why))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // Percent-encoding is undone here; what is no UTF-8 then is an error that names the part in its text.
        let path = RawPathParams::from_request_parts(parts, state).await;
        let path = path.map_err(|error| {
            let names = ["points", "command_id"];
            let field = names.into_iter().find(|name| error.body_text().contains(name)).unwrap_or("member_id");
            Problem::invalid(field, "must be printable ASCII")
        })?;
        let part = |name: &str| path.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        let member_id = part("member_id").unwrap_or_default();
        // Only where members stand at the first place can one be mistaken for a path of ours.
        let first = parts.extensions.get::<MatchedPath>().is_none_or(|path| !path.as_str().starts_with(V1));
        if first && RESERVED.contains(&member_id.as_str()) {
            return Err(Problem::invalid("member_id", &format!("must be none of {} here", RESERVED.join(", "))));
        }
        let member_id = MemberId::parse(&member_id).map_err(|why| Problem::not_allowed("member_id", &why))?;
        Ok(Self { member_id, points: part("points"), command_id: part("command_id") })
    }
}

/// A text as one part of a URL's path: everything but RFC 3986's unreserved characters is encoded.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded + &char::from(byte).to_string(),
        _ => encoded + &format!("%{byte:02X}"),
    })
}
