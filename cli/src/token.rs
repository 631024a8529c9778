//! `loyalty token`: creates, lists and revokes the tokens that the bridge asks for. A token is shown once, by the
//! command that makes it, and nowhere else.

use jiff::{SignedDuration, Timestamp};
use loyalty_common::Text;
use loyalty_store::Pool;
use loyalty_store::pool::PlannerProfile;
use loyalty_store::token::{self, Bearer, NewToken, Scope, Token, TokenId};
use serde::Serialize;

use crate::Context;
use crate::exit::ExitStatus;
use crate::output::{self, Column, table};

/// The longest life of a token that has an end. Whoever wants more wants no end.
const EXPIRES_MAX: SignedDuration = SignedDuration::from_hours(24 * 3_660);

/// Create, list and revoke the bridge's access tokens
///
/// A request carries its token as `Authorization: Bearer loyalty_...`. From the first token on the bridge serves
/// no request without one, even when all have been revoked.
#[derive(Debug, clap::Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

impl Tokens {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        match self.command {
            Command::Create(create) => create.run(context, &pool).await,
            Command::List(List {}) => list(context, &pool).await,
            Command::Revoke(revoke) => revoke.run(context, &pool).await,
        }
    }
}

/// Create a token and show it, this once
///
/// Prints the token alone on standard output; only its hash is kept. None of the scopes includes another:
///   publish  sending commands
///   read     reading members, ledgers and receipts
///   operate  /metrics, and `terminate`, which cannot be undone
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Example:
  TOKEN=$(loyalty token create --scope publish,read --expires 90d --name till-7)
  curl -X POST http://localhost:5000/ann/add_points/50 -H \"Authorization: Bearer $TOKEN\""
)]
struct Create {
    /// Its scopes: publish, read, operate; several with commas
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', required = true)]
    scope: Vec<Scope>,
    /// How long it is valid, such as 90d or 12h; without it, for ever
    #[arg(long, value_name = "TIME", value_parser = expires)]
    expires: Option<SignedDuration>,
    /// The holder's name, for the list
    #[arg(long, value_name = "NAME")]
    name: Option<Text>,
}

#[derive(Serialize)]
struct CreatedToken<'a> {
    token: &'a str,
    #[serde(flatten)]
    about: &'a Token,
}

impl Create {
    async fn run(self, context: &Context, pool: &Pool) -> anyhow::Result<ExitStatus> {
        let new = NewToken { name: self.name, scopes: self.scope, expires_in: self.expires };
        let (bearer, about) = token::create(pool, &new).await?;
        let until = about.expires_at.map_or("until it is revoked".to_owned(), |at| format!("until {}", second(at)));
        // Beside the answer: who keeps standard output in a variable keeps the token alone.
        let note = format!(
            "Token {} for {}, {until}. It is shown this once; only its hash is kept.",
            about.token_id,
            scopes(&about)
        );
        // Standard error may be closed; the token itself is what matters.
        let _ = output::note(&format!("{note}\n"));
        context.output.answer(&CreatedToken { token: bearer.expose(), about: &about }, |made| made.token.to_owned())?;
        Ok(ExitStatus::Success)
    }
}

/// List the tokens, without their secrets
#[derive(Debug, clap::Args)]
struct List {}

async fn list(context: &Context, pool: &Pool) -> anyhow::Result<ExitStatus> {
    let tokens = token::list(pool).await?;
    context.output.answer(&tokens, |tokens| {
        let columns = ["id", "state", "scopes", "created", "expires", "name"].map(Column::Text);
        table(columns, tokens.iter().map(row))
    })?;
    Ok(ExitStatus::Success)
}

fn row(token: &Token) -> [String; 6] {
    let expires = token.expires_at.map_or("never".to_owned(), second);
    let name = token.name.clone().unwrap_or_default();
    let (id, state) = (token.token_id.to_string(), token.state.to_string());
    [id, state, scopes(token), second(token.created_at), expires, name]
}

/// Revoke a token at once, for good
///
/// Every bridge refuses it within 2 seconds; one that cannot reach the database, within 15 minutes. Exit code 1 if
/// there is no such token.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty token revoke 5c0f1d2e3a4b5968")]
struct Revoke {
    /// Its id, as the list shows it; or the whole token, where that is what was found
    #[arg(value_name = "ID", value_parser = token_id)]
    id: TokenId,
}

impl Revoke {
    async fn run(self, context: &Context, pool: &Pool) -> anyhow::Result<ExitStatus> {
        let revoked = token::revoke(pool, &self.id).await?;
        let id = &self.id;
        context.output.answer(&revoked, |revoked| match revoked {
            Some(_) => format!("Token {id} is revoked: every bridge refuses it within 2 seconds."),
            None => format!("There is no token {id}."),
        })?;
        Ok(revoked.is_some().into())
    }
}

fn token_id(text: &str) -> Result<TokenId, String> {
    let id = TokenId::parse(text).or_else(|| Bearer::parse(text).map(|bearer| bearer.id().clone()));
    id.ok_or_else(|| "must be 16 hexadecimal digits, as `loyalty token list` shows them".into())
}

/// Days have 24 hours here, which jiff's own durations do not assume.
fn expires(text: &str) -> Result<SignedDuration, String> {
    let time = match text.strip_suffix('d') {
        Some(days) => days.parse::<u32>().ok().map(|days| SignedDuration::from_hours(24 * i64::from(days))),
        None => text.parse().ok(),
    };
    let in_bounds = time.filter(|time| (SignedDuration::from_secs(1)..=EXPIRES_MAX).contains(time));
    in_bounds.ok_or_else(|| "must be a time such as 90d or 12h, at most 3660d".into())
}

fn scopes(token: &Token) -> String {
    token.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

/// To the second, which is enough for people.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_has_an_end_in_sight() {
        let check = |text: &str, hours: Option<i64>| {
            assert_eq!(expires(text).ok(), hours.map(SignedDuration::from_hours), "{text}");
        };
        check("90d", Some(90 * 24));
        check("12h", Some(12));
        for wrong in ["", "0d", "-1d", "d", "3661d", "1.5d", "soon", "99999999999d", "-5h", "0s"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_was_found_can_be_revoked_as_it_was_found() {
        let found = Bearer::fresh().expect("randomness");
        assert_eq!(token_id(found.expose()).as_ref(), Ok(found.id()));
        assert_eq!(token_id(found.id().as_str()).as_ref(), Ok(found.id()));
        assert!(token_id("till-7").is_err());
    }
}
