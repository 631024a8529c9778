//! What a request asks: whom it is about, with which points, under which key. Everything is checked here, before
//! anything is done.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::{HeaderMap, StatusCode, header};
use loyalty_common::{Action, Command, CommandId, MemberId, Points};
use loyalty_producer::TraceContext;
use uuid::Uuid;

use crate::App;
use crate::body::Body;
use crate::problem::{Code, Problem};
use crate::routes::RESERVED;

/// The namespace of the command ids that are derived from idempotency keys: a random UUID, fixed for ever.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x9d0b_4c1f_6c0a_4f27_8a55_0b6e_93d2_7e14);

/// The longest idempotency key in bytes: any id that a shop's systems make fits.
const KEY_MAX_BYTES: usize = 255;

/// A request that becomes a command.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The path.
    pub(crate) path: PathAsked,
    /// What the body says.
    pub(crate) body: Body,
    /// The id that the client's key stands for, if it gave one.
    pub(crate) key: Option<CommandId>,
    /// The trace that the request is part of.
    pub(crate) trace: Option<TraceContext>,
}

impl Asked {
    /// The command: under the client's key, or under a fresh id.
    pub(crate) fn command(self, action: Action) -> Command {
        let mut command = Command::new(self.path.member_id, action);
        command.command_id = self.key.unwrap_or(command.command_id);
        command.reason = self.body.reason;
        command.source_ref = self.body.source_ref;
        command
    }
}

impl FromRequest<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let path = PathAsked::from_request_parts(&mut parts, app).await?;
        let key = idempotency_key(&parts.headers, &path.member_id)?;
        let trace = trace(&parts.headers);
        let is_json = is_json(&parts.headers);
        let bytes = read(Request::from_parts(parts, body), app).await?;
        if !bytes.is_empty() && !is_json {
            return Err(Problem::new(Code::NotJson, "a body must be of Content-Type application/json"));
        }
        Ok(Self { path, body: Body::parse(&bytes)?, key, trace })
    }
}

/// The variable parts of a path.
#[derive(Debug)]
pub(crate) struct PathAsked {
    /// Whom the request is about.
    pub(crate) member_id: MemberId,
    points: Option<String>,
    command_id: Option<String>,
}

impl PathAsked {
    /// The points in the path.
    pub(crate) fn points(&self) -> Result<Points, Problem> {
        let text = self.points.as_deref().unwrap_or_default();
        text.parse().map_err(|why| Problem::not_allowed("points", &why))
    }

    /// The command id in the path.
    pub(crate) fn command_id(&self) -> Result<CommandId, Problem> {
        let text = self.command_id.as_deref().unwrap_or_default();
        CommandId::parse(text).map_err(|why| Problem::not_allowed("command_id", &why))
    }
}

impl FromRequestParts<Arc<App>> for PathAsked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, app: &Arc<App>) -> Result<Self, Problem> {
        // Percent-encoding is undone here; what is no UTF-8 then is an error that names the part in its text.
        let path = RawPathParams::from_request_parts(parts, app).await;
        let path = path.map_err(|error| {
            let names = ["points", "command_id"];
            let field = names.into_iter().find(|name| error.body_text().contains(name)).unwrap_or("member_id");
            Problem::invalid(field, "must be printable ASCII")
        })?;
        let part = |name: &str| path.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        let member_id = member_id(&part("member_id").unwrap_or_default())?;
        Ok(Self { member_id, points: part("points"), command_id: part("command_id") })
    }
}

fn member_id(text: &str) -> Result<MemberId, Problem> {
    const FIELD: &str = "member_id";
    if RESERVED.contains(&text) {
        return Err(Problem::invalid(FIELD, "must be none of healthz, readyz, metrics"));
    }
    MemberId::parse(text).map_err(|why| Problem::not_allowed(FIELD, &why))
}

/// A UUID is the command id itself; any other key stands for one, within its member.
fn idempotency_key(headers: &HeaderMap, member_id: &MemberId) -> Result<Option<CommandId>, Problem> {
    const HEADER: &str = "idempotency-key";
    let wrong = || Problem::invalid(HEADER, "must be given once, with 1 to 255 bytes of printable ASCII");
    let mut keys = headers.get_all(HEADER).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() || !(1..=KEY_MAX_BYTES).contains(&key.len()) {
        return Err(wrong());
    }
    // Fails for everything but visible ASCII, spaces and tabs.
    let key = key.to_str().ok().filter(|key| !key.contains('\t')).ok_or_else(wrong)?;
    // No member id holds a space, so that the pair cannot be read in two ways.
    let derived = || CommandId::derived(&KEY_NAMESPACE, &format!("{member_id} {key}"));
    Ok(Some(CommandId::parse(key).unwrap_or_else(|_| derived())))
}

fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    TraceContext::parse(text("traceparent")?, text("tracestate"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The whole body, bounded in size by the router's layer and in time here.
async fn read(request: Request, app: &Arc<App>) -> Result<Bytes, Problem> {
    let limits = &app.limits;
    let reading = tokio::time::timeout(limits.body_timeout, Bytes::from_request(request, app));
    match reading.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Problem::new(Code::TooLarge, format!("a body may have at most {} bytes", limits.body_bytes)))
        }
        // The connection broke, or its framing is wrong. Hardly anybody is left to read this.
        Ok(Err(_)) => Err(Problem::invalid("body", "ended too early")),
        Err(_) => Err(Problem::new(Code::TooSlow, "the body did not arrive in time")),
    }
}

/// A text as one part of a URL's path: everything but RFC 3986's unreserved characters is encoded.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded + &char::from(byte).to_string(),
        _ => encoded + &format!("%{byte:02X}"),
    })
}
