//! What went wrong with a request, as RFC 9457 spells it: `application/problem+json`.
//!
//! The texts say what is allowed and never quote what was sent.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use loyalty_common::decode::DecodeError;
use loyalty_common::values::Invalid;
use loyalty_common::{Command, CommandId, Receipt, string_enum};
use serde::Serialize;

/// When to come back to a bridge whose servers are away or busy: a restart takes several seconds, and asking this
/// often burdens nobody.
const RETRY_AFTER: Duration = Duration::from_secs(2);

string_enum! {
    /// What went wrong. Stable: clients match on it. The codes of refusals stand beside these.
    pub enum Code {
        /// A part of the path, a header or a field of the body is not allowed.
        Invalid = "invalid",
        NoToken = "no_token",
        /// The token is unknown, wrong, expired or revoked: which, is not said.
        InvalidToken = "invalid_token",
        /// The token is for something else.
        InsufficientScope = "insufficient_scope",
        /// `Host` is none of this bridge's names.
        UnknownHost = "unknown_host",
        /// A web page of another origin asks.
        CrossSite = "cross_site",
        /// The body is over its bound.
        TooLarge = "too_large",
        /// The body did not arrive in time.
        TooSlow = "too_slow",
        /// The body is not of a media type that is read here.
        NotJson = "not_json",
        /// The body is compressed.
        ContentEncoding = "content_encoding",
        /// Nothing is served there.
        NoSuchRoute = "no_such_route",
        /// Not in this way.
        MethodNotAllowed = "method_not_allowed",
        /// No member has that id.
        NoSuchMember = "no_such_member",
        /// Nothing is known of the command; it may still be on its way.
        NoSuchCommand = "no_such_command",
        /// The key was used for something else.
        IdempotencyKeyReused = "idempotency_key_reused",
        /// A request under the same key, or about the same command, is under way.
        InFlight = "in_flight",
        /// What was to be waited for has not happened yet.
        NotAppliedYet = "not_applied_yet",
        /// The broker did not say whether it has the command.
        Unconfirmed = "unconfirmed",
        /// Too much is under way here.
        Busy = "busy",
        /// The broker cannot be reached.
        BrokerAway = "broker_away",
        /// The broker is short of memory or disk.
        BrokerBlocked = "broker_blocked",
        /// The command's queue is full, since the workers are far behind, or has no leader.
        QueueFull = "queue_full",
        /// The broker refuses what is published.
        PublishRefused = "publish_refused",
        /// The queues are not declared.
        NoTopology = "no_topology",
        /// The database cannot be reached.
        DatabaseAway = "database_away",
        /// The request was not done in time; what it asked may have been done.
        TookTooLong = "took_too_long",
        /// A mistake of ours.
        Internal = "internal",
    }
}

/// What an answer says of its command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CommandSummary {
    /// For people.
    pub(crate) message: String,
    command_id: CommandId,
    /// The balance after it, once it is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

impl CommandSummary {
    pub(crate) fn new(message: String, command: &Command, receipt: Option<Receipt>) -> Self {
        let points = receipt.as_ref().map(|receipt| receipt.balance_after);
        Self { message, command_id: command.command_id, points, receipt }
    }
}

impl Code {
    /// The problems of publishing.
    pub(crate) const PUBLISHING: [Self; 5] =
        [Self::BrokerAway, Self::BrokerBlocked, Self::QueueFull, Self::PublishRefused, Self::NoTopology];

    /// The problems of reading a body, before its command is published.
    pub(crate) const BODY: [Self; 5] =
        [Self::Invalid, Self::TooLarge, Self::TooSlow, Self::NotJson, Self::ContentEncoding];

    /// What it means, for people.
    pub(crate) const fn purpose(self) -> &'static str {
        match self {
            Self::Invalid => "a part of the path, a parameter, a header or a field of the body is not allowed",
            Self::NoToken => "a token is needed, as `Authorization: Bearer loyalty_...`",
            Self::InvalidToken => "the token is not valid here",
            Self::InsufficientScope => "the token is for something else",
            Self::UnknownHost => "the bridge is not known by that host",
            Self::CrossSite => "a web page of another origin may not use a bridge that asks for no tokens",
            Self::TooLarge => "the body is over its bound",
            Self::TooSlow => "the body did not arrive in time",
            Self::NotJson => "the body is not of a media type that is read here",
            Self::ContentEncoding => "the body must not be compressed",
            Self::NoSuchRoute => "nothing is served at this path",
            Self::MethodNotAllowed => "the path is served, but not in this way",
            Self::NoSuchMember => "member not found",
            Self::NoSuchCommand => "nothing is known of the command; it may still be on its way",
            Self::IdempotencyKeyReused => "the id or key was used before for something else, which stands",
            Self::InFlight => "a request about the same command is under way; nothing was done",
            Self::NotAppliedYet => "the command that the answer should hold is not applied yet",
            Self::Unconfirmed => "the queue did not say whether it has the command; repeat it under its id or key",
            Self::Busy => "too much is under way here; nothing was done",
            Self::BrokerAway => "the queue cannot be reached; nothing was done",
            Self::BrokerBlocked => "the queue's server is short of memory or disk; nothing was done",
            Self::QueueFull => "the command's queue is full or has no leader; nothing was done",
            Self::PublishRefused => "the queue's server refuses what this bridge publishes; nothing was done",
            Self::NoTopology => "the queues are not set up; nothing was done",
            Self::DatabaseAway => "the database cannot be asked at present",
            Self::TookTooLong => "the request was not done in time; what it asked may have been done",
            Self::Internal => "a mistake of the bridge; what was asked may have been done",
        }
    }

    /// What a server says of tokens beside these answers (RFC 6750, 3).
    pub(crate) fn challenge(self) -> Option<&'static str> {
        let said = [
            (Self::NoToken, "Bearer realm=\"loyalty\""),
            (Self::InvalidToken, "Bearer realm=\"loyalty\", error=\"invalid_token\""),
            (Self::InsufficientScope, "Bearer realm=\"loyalty\", error=\"insufficient_scope\""),
        ];
        said.into_iter().find(|(code, _)| *code == self).map(|(_, challenge)| challenge)
    }

    /// Whether the same request may well have another answer soon.
    pub(crate) fn is_worth_repeating(self) -> bool {
        let soon = [Self::InFlight, Self::NotAppliedYet];
        self.status() == StatusCode::SERVICE_UNAVAILABLE || soon.contains(&self)
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NotJson | Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoSuchRoute | Self::NoSuchMember | Self::NoSuchCommand => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InFlight | Self::NotAppliedYet => StatusCode::CONFLICT,
            Self::Busy
            | Self::Unconfirmed
            | Self::TookTooLong
            | Self::BrokerAway
            | Self::BrokerBlocked
            | Self::QueueFull
            | Self::PublishRefused
            | Self::NoTopology
            | Self::DatabaseAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A problem on its way to the client, as an answer or as a line of one.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    // In a box, since most requests have none.
    body: Box<Body>,
}

#[derive(Clone, Debug, Serialize)]
struct Body {
    /// There are no pages about problems; their codes tell them apart.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    /// What of the request is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<String>,
    /// What is known of the command, if the problem is about one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    about: Option<CommandSummary>,
}

impl Problem {
    /// What tells it from others, for machines.
    pub(crate) fn code(&self) -> &'static str {
        self.body.code
    }

    /// Whether the broker takes nothing at all.
    pub(crate) fn is_of_broker(&self) -> bool {
        [Code::BrokerAway, Code::BrokerBlocked, Code::PublishRefused].iter().any(|code| code.as_str() == self.body.code)
    }

    /// A problem in words.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self::with(code.status(), code.as_str(), detail.into())
    }

    /// A part of the request that is not allowed.
    pub(crate) fn invalid(field: &str, allowed: &str) -> Self {
        Self::of_field(Code::Invalid, field, allowed)
    }

    /// The same, with a code of its own.
    pub(crate) fn of_field(code: Code, field: &str, allowed: &str) -> Self {
        let mut problem = Self::new(code, format!("`{field}` {allowed}"));
        problem.body.field = Some(field.to_owned());
        problem.body.allowed = allowed.strip_prefix("must be ").map(str::to_owned);
        problem
    }

    /// The same, with the contract's words for what is allowed.
    pub(crate) fn not_allowed(field: &str, why: &Invalid) -> Self {
        Self::invalid(field, &why.to_string())
    }

    /// No member has that id, nor ever had.
    pub(crate) fn no_such_member() -> Self {
        Self::new(Code::NoSuchMember, "member not found")
    }

    /// Nothing is known of a command.
    pub(crate) fn no_such_command() -> Self {
        Self::new(Code::NoSuchCommand, "nothing is known of that command; it may be on its way")
    }

    /// The database was asked in vain.
    pub(crate) fn database_away() -> Self {
        Self::new(Code::DatabaseAway, "the database cannot be asked at present")
    }

    /// What the contract says is wrong with a command.
    pub(crate) fn undecodable(error: &DecodeError) -> Self {
        match error {
            DecodeError::TooLarge { .. } => Self::new(Code::TooLarge, error.to_string()),
            DecodeError::Malformed { problem } => {
                Self::invalid("body", "must be one JSON object").adding(&format!("; {problem}"))
            }
            DecodeError::UnknownVersion | DecodeError::UnknownType => {
                let (field, text) = (error.field().unwrap_or("body"), error.to_string());
                Self::invalid(field, text.split_once("` ").map_or(text.as_str(), |(_, words)| words))
            }
            // A name that cannot be shown is no name.
            DecodeError::Field { field, problem } => Self::invalid(if field == "?" { "body" } else { field }, problem),
        }
    }

    /// The same, in more words.
    pub(crate) fn adding(mut self, words: &str) -> Self {
        self.body.detail.push_str(words);
        self
    }

    /// What stands in the way of a command that is known.
    pub(crate) fn about(code: Code, about: CommandSummary) -> Self {
        Self::of_command(code.as_str(), code.status(), about)
    }

    /// A command that the rules refused, or that met another one under its key.
    pub(crate) fn of_command(code: &'static str, status: StatusCode, about: CommandSummary) -> Self {
        let mut problem = Self::with(status, code, about.message.clone());
        problem.body.about = Some(about);
        problem
    }

    fn with(status: StatusCode, code: &'static str, detail: String) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        let (r#type, number) = ("about:blank", status.as_u16());
        let body = Body { r#type, title, status: number, code, detail, field: None, allowed: None, about: None };
        Self { status, body: Box::new(body) }
    }
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body.serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body).expect("strings and numbers always serialize");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let code = Code::parse(self.body.code);
        if let Some(challenge) = code.and_then(Code::challenge) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if code == Some(Code::ContentEncoding) {
            // RFC 9110, 12.5.3: what would be taken.
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if code.is_some_and(Code::is_worth_repeating) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
        }
        response
    }
}

/// The name of an unknown field as a problem may show it: short, and only if it looks like a name; else `or`.
pub(crate) fn printable<'a>(field: &'a str, or: &'a str) -> &'a str {
    const NAME_MAX_BYTES: usize = 40;
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !field.is_empty() && field.len() <= NAME_MAX_BYTES && field.bytes().all(name) { field } else { or }
}
