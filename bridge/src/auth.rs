//! Authentication: asks every request for a token with the scope that its route needs.
//!
//! The valid tokens are read together every other second and held in memory: a token costs a request no query, and
//! strangers cannot make the database work. What is refused is never told apart, in words, in the log or by time.

use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, Method, header};
use loyalty_common::error_chain::chain;
use loyalty_store::Pool;
use loyalty_store::token::{self, Bearer, Scope, Valid};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::problem::{Code, Problem};

/// How old what is known of the tokens may become while the database answers: a token that is revoked or expires is
/// refused within this time, and a new one is taken. One small query in it costs the database nothing.
const REFRESH: Duration = Duration::from_secs(2);

/// How long what was known last is used while the database is away, so that tills can go on through a restart or a
/// repair. A bridge that was cut off alone must not honour what is revoked elsewhere for much longer.
const STALE_MAX: Duration = Duration::from_secs(15 * 60);

/// Whom a bridge serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Whoever reaches it, whatever the table says.
    Anyone,
    /// Whoever reaches it, until there was ever a token; then holders of tokens. As long as it is not known whether
    /// there was, nobody.
    UntilTokens,
    /// Holders of tokens.
    Tokens,
}

/// Who asks, as far as it is known. Stands in the extensions of every request that was let in.
#[derive(Clone, Debug)]
pub(crate) enum Principal {
    /// Nobody asked who it is.
    Anyone,
    /// The holder of a token with these scopes.
    Holder(Vec<Scope>),
}

impl Principal {
    /// An error, if this is not for the principal.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        self.require_one(&[scope])
    }

    fn require_one(&self, scopes: &[Scope]) -> Result<(), Problem> {
        match self {
            Self::Anyone => Ok(()),
            Self::Holder(held) if scopes.iter().any(|scope| held.contains(scope)) => Ok(()),
            Self::Holder(_) => {
                let names: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                let detail = format!("the token lacks the scope `{}`", names.join("` or `"));
                Err(Problem::new(Code::InsufficientScope, detail))
            }
        }
    }
}

/// The scopes of which a route needs one. A route that is not named here is not open by that.
pub(crate) fn needed_scopes(method: &Method, route: &str) -> &'static [Scope] {
    match route {
        "/healthz" | "/readyz" | "/openapi.json" => &[],
        _ if route == "/docs" || route.starts_with("/docs/") => &[],
        "/metrics" => &[Scope::Operate],
        // Which of the two, each command says.
        "/v1/commands" | "/v1/commands/batch" => &[Scope::Publish, Scope::Operate],
        _ if method == Method::GET || method == Method::HEAD => &[Scope::Read],
        _ => &[Scope::Publish],
    }
}

/// Knows the tokens, and whom they let in.
#[derive(Debug)]
pub(crate) struct Authenticator {
    admission: AuthMode,
    known: watch::Receiver<Option<Snapshot>>,
    /// How long the first request waits for the first snapshot.
    read_timeout: Duration,
}

#[derive(Debug)]
struct Snapshot {
    valid: Valid,
    at: Instant,
}

impl Authenticator {
    /// Starts to read the tokens, until this is dropped.
    pub(crate) fn start(admission: AuthMode, pool: Pool, read_timeout: Duration) -> Self {
        let (knowing, known) = watch::channel(None);
        match admission {
            AuthMode::Anyone => {}
            AuthMode::UntilTokens | AuthMode::Tokens => {
                tokio::spawn(keep_reading(pool, knowing, read_timeout));
            }
        }
        Self { admission, known, read_timeout }
    }

    /// Whether it serves whoever reaches it, or may do so for all that is known.
    pub(crate) fn may_be_open(&self) -> bool {
        match self.admission {
            AuthMode::Anyone => true,
            AuthMode::UntilTokens => self.known.borrow().as_ref().is_none_or(|known| !known.valid.is_claimed()),
            AuthMode::Tokens => false,
        }
    }

    /// Lets a request in, with its [`Principal`] among its extensions from here on.
    pub(crate) async fn authenticate(&self, request: &mut Request) -> Result<(), Problem> {
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let needed = needed_scopes(request.method(), route);
        if needed.is_empty() {
            return Ok(());
        }
        let principal = self.principal(request.headers()).await?;
        principal.require_one(needed)?;
        request.extensions_mut().insert(principal);
        Ok(())
    }

    /// Whether an operator asks, by a token: where nobody is asked for one, nobody is known to be an operator.
    pub(crate) async fn admits_operator(&self, headers: &HeaderMap) -> bool {
        if !headers.contains_key(header::AUTHORIZATION) {
            return false;
        }
        match self.principal(headers).await {
            Ok(Principal::Holder(scopes)) => scopes.contains(&Scope::Operate),
            Ok(Principal::Anyone) | Err(_) => false,
        }
    }

    async fn principal(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        if self.admission == AuthMode::Anyone {
            return Ok(Principal::Anyone);
        }
        let mut known = self.known.clone();
        let first = timeout(self.read_timeout, known.wait_for(Option::is_some)).await;
        let Ok(Ok(snapshot)) = first else { return Err(Problem::database_away()) };
        let fresh = snapshot.as_ref().filter(|snapshot| snapshot.at.elapsed() < STALE_MAX);
        let valid = &fresh.ok_or_else(Problem::database_away)?.valid;
        if self.admission == AuthMode::UntilTokens && !valid.is_claimed() {
            return Ok(Principal::Anyone);
        }
        let bearer = bearer(headers)?;
        let scopes = bearer.as_ref().and_then(|bearer| valid.scopes(bearer)).ok_or_else(invalid)?;
        Ok(Principal::Holder(scopes.to_vec()))
    }
}

async fn keep_reading(pool: Pool, knowing: watch::Sender<Option<Snapshot>>, read_timeout: Duration) {
    let mut is_away = false;
    loop {
        let asked = Instant::now();
        let read = timeout(read_timeout, token::valid(&pool)).await;
        let problem = match read {
            Ok(Ok(valid)) => {
                // As of the question: what changes between it and the answer counts as not seen.
                knowing.send_replace(Some(Snapshot { valid, at: asked }));
                None
            }
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some("no answer in time".to_owned()),
        };
        match &problem {
            Some(error) if !is_away => warn!(error, "Cannot read the tokens; using those that were read last"),
            None if is_away => info!("The tokens can be read again"),
            Some(_) | None => {}
        }
        is_away = problem.is_some();
        tokio::select! {
            () = sleep(REFRESH) => {}
            () = knowing.closed() => return,
        }
    }
}

/// The token of a request; `None`, if what stands there cannot be one.
fn bearer(headers: &HeaderMap) -> Result<Option<Bearer>, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = given.next() else {
        return Err(Problem::new(Code::NoToken, "a token is needed, as `Authorization: Bearer loyalty_...`"));
    };
    if given.next().is_some() {
        return Ok(None);
    }
    let (scheme, token) = first.to_str().unwrap_or_default().split_once(' ').unwrap_or_default();
    Ok(Bearer::parse(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer")))
}

/// The same for all that are not good for anything.
fn invalid() -> Problem {
    Problem::new(Code::InvalidToken, "the token is not valid here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_asks_for_its_scope_and_unknown_ones_are_not_open() {
        let check = |method: Method, route: &str, expected: &[Scope]| {
            assert_eq!(needed_scopes(&method, route), expected, "{method} {route}");
        };
        for route in ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/{file}"] {
            check(Method::GET, route, &[]);
        }
        check(Method::GET, "/metrics", &[Scope::Operate]);
        check(Method::POST, "/{member_id}", &[Scope::Publish]);
        check(Method::GET, "/{member_id}", &[Scope::Read]);
        check(Method::HEAD, "/v1/members/{member_id}/ledger", &[Scope::Read]);
        check(Method::DELETE, "/{member_id}/exit", &[Scope::Publish]);
        check(Method::POST, "/v1/commands/batch", &[Scope::Publish, Scope::Operate]);
        check(Method::GET, "/docsearch", &[Scope::Read]);
        check(Method::PUT, "/v1/something-new", &[Scope::Publish]);
        check(Method::GET, "", &[Scope::Read]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_long_ago_lets_nobody_in() {
        let snapshot = Snapshot { valid: Valid::default(), at: Instant::now() };
        let (_knowing, known) = watch::channel(Some(snapshot));
        let auth = Authenticator { admission: AuthMode::UntilTokens, known, read_timeout: REFRESH };
        let let_in = async || auth.principal(&HeaderMap::new()).await.map(drop).map_err(|problem| problem.code());
        tokio::time::advance(STALE_MAX / 2).await;
        assert_eq!(let_in().await, Ok(()));
        tokio::time::advance(STALE_MAX / 2).await;
        assert_eq!(let_in().await, Err("database_away"));
    }
}
