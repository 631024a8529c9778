//! Who may use the bridge: bearer tokens, each with the scopes that it opens, until it expires or is revoked.
//!
//! A token is shown to who made it and kept as a hash. Nothing here tells a token that is unknown from one that is
//! wrong, expired or revoked, neither in words nor by the time it takes.

mod bearer;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use loyalty_common::{Text, string_enum};
use serde::Serialize;
use subtle::ConstantTimeEq;
use tokio_postgres::Row;

use crate::pool::{Pool, StoreError};

pub use bearer::{Bearer, Digest, TokenId};
pub use loyalty_common::Scope;

/// Valid tokens at a time. A bridge holds them all in memory, some 200 bytes each, and reads them again every few
/// seconds; a chain with a token for each till stays below.
pub const TOKENS_MAX: i64 = 10_000;

/// Tokens of one list.
const LISTED_MAX: i64 = 2 * TOKENS_MAX;

string_enum! {
    /// Whether a token is good for anything.
    pub enum TokenState {
        Valid = "valid",
        /// No longer: its time is over.
        Expired = "expired",
        /// No longer: somebody said so.
        Revoked = "revoked",
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub name: Option<Text>,
    /// What it will be good for.
    pub scopes: Vec<Scope>,
    /// For how long; for ever without.
    pub expires_in: Option<SignedDuration>,
}

/// What is known of a token besides its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Names it.
    pub token_id: TokenId,
    pub name: Option<String>,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// Whether it still is.
    pub state: TokenState,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// When somebody ended it.
    pub revoked_at: Option<Timestamp>,
}

const COLUMNS: &str = "
    token_id, name, scopes, created_at, expires_at, revoked_at,
    case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'valid' end as state";

const IS_VALID: &str = "revoked_at is null and (expires_at is null or expires_at > now())";

/// Makes a token. What is returned first is the only copy of its secret.
pub async fn create(pool: &Pool, new: &NewToken) -> Result<(Bearer, Token), TokenError> {
    let bearer = Bearer::fresh().map_err(TokenError::Randomness)?;
    let mut scopes: Vec<&str> = new.scopes.iter().map(|scope| scope.as_str()).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let name = new.name.as_ref().map(Text::as_str);
    let seconds = new.expires_in.map(|time| time.as_secs_f64());
    let statement = format!(
        "insert into token (token_id, digest, name, scopes, expires_at)
         select $1, $2, $3, $4, now() + make_interval(secs => $5)
         where (select count(*) from token where {IS_VALID}) < $6
         returning {COLUMNS}"
    );
    let (id, digest) = (bearer.id().as_str(), bearer.digest());
    let client = pool.get().await?;
    let row = client.query_opt(&statement, &[&id, &digest.as_slice(), &name, &scopes, &seconds, &TOKENS_MAX]).await;
    let row = row.map_err(StoreError::Query)?.ok_or(TokenError::TooMany)?;
    Ok((bearer, token(&row)?))
}

/// All tokens, those that are good for something first, then the newest.
pub async fn list(pool: &Pool) -> Result<Vec<Token>, StoreError> {
    let query = format!("select {COLUMNS} from token order by not ({IS_VALID}), created_at desc, token_id limit $1");
    pool.get().await?.query(&query, &[&LISTED_MAX]).await?.iter().map(token).collect()
}

/// Ends a token, if there is one of that id. One that was ended before stays ended since then.
pub async fn revoke(pool: &Pool, id: &TokenId) -> Result<Option<Token>, StoreError> {
    let statement =
        format!("update token set revoked_at = coalesce(revoked_at, now()) where token_id = $1 returning {COLUMNS}");
    pool.get().await?.query_opt(&statement, &[&id.as_str()]).await?.as_ref().map(token).transpose()
}

/// Whether there was ever a token, be it valid or not.
pub async fn any(pool: &Pool) -> Result<bool, StoreError> {
    Ok(pool.get().await?.query_one("select exists (select from token)", &[]).await?.get(0))
}

/// All tokens that are valid now.
pub async fn valid(pool: &Pool) -> Result<Valid, StoreError> {
    let query = format!("select token_id, digest, scopes from token where {IS_VALID}");
    let rows = pool.get().await?.query(&query, &[]).await?;
    let tokens = rows.iter().map(known).collect::<Result<HashMap<_, _>, _>>()?;
    let is_claimed = !tokens.is_empty() || any(pool).await?;
    Ok(Valid { tokens, is_claimed })
}

/// The tokens that were valid at some moment. By default there was never any.
#[derive(Debug, Default)]
pub struct Valid {
    tokens: HashMap<TokenId, Known>,
    is_claimed: bool,
}

#[derive(Debug)]
struct Known {
    digest: Digest,
    scopes: Vec<Scope>,
}

impl Valid {
    /// What the token is good for; `None`, if nothing. An id that nobody has takes as long as a wrong secret.
    pub fn scopes(&self, bearer: &Bearer) -> Option<&[Scope]> {
        /// Compared with, where there is nothing to compare with. No text is known that has this hash.
        const NOBODYS: Digest = [0; 32];
        let known = self.tokens.get(bearer.id());
        let expected = known.map_or(&NOBODYS, |known| &known.digest);
        let is_right: bool = expected.ct_eq(&bearer.digest()).into();
        known.filter(|_| is_right).map(|known| known.scopes.as_slice())
    }

    /// Whether there was ever a token, be it valid or not.
    pub fn is_claimed(&self) -> bool {
        self.is_claimed
    }
}

fn known(row: &Row) -> Result<(TokenId, Known), StoreError> {
    let digest = row.get::<_, &[u8]>("digest");
    let digest = digest.try_into().map_err(|_| StoreError::UnexpectedValue { column: "token.digest" })?;
    Ok((token_id(row)?, Known { digest, scopes: scopes(row)? }))
}

fn token(row: &Row) -> Result<Token, StoreError> {
    Ok(Token {
        token_id: token_id(row)?,
        name: row.get("name"),
        scopes: scopes(row)?,
        state: TokenState::parse(row.get("state")).ok_or(StoreError::UnexpectedValue { column: "token.state" })?,
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        revoked_at: row.get("revoked_at"),
    })
}

fn token_id(row: &Row) -> Result<TokenId, StoreError> {
    TokenId::parse(row.get("token_id")).ok_or(StoreError::UnexpectedValue { column: "token.token_id" })
}

fn scopes(row: &Row) -> Result<Vec<Scope>, StoreError> {
    let names = row.get::<_, Vec<&str>>("scopes");
    let scopes: Option<Vec<Scope>> = names.into_iter().map(Scope::parse).collect();
    scopes.ok_or(StoreError::UnexpectedValue { column: "token.scopes" })
}

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system has no randomness to give.
    #[error("the system gave no random numbers")]
    Randomness(#[source] getrandom::Error),
    /// There are as many as bridges hold.
    #[error("there are {TOKENS_MAX} valid tokens already; revoke unused ones")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_opens_and_only_what_it_is_for() {
        let [ann, bob] = [(); 2].map(|()| Bearer::fresh().expect("randomness"));
        let known = Known { digest: ann.digest(), scopes: vec![Scope::Read] };
        let valid = Valid { tokens: HashMap::from([(ann.id().clone(), known)]), is_claimed: true };
        assert_eq!(valid.scopes(&ann), Some(&[Scope::Read][..]));
        assert_eq!(valid.scopes(&bob), None, "nobody's");
        let forged = ann.expose().replace(ann.secret(), bob.secret());
        assert_eq!(valid.scopes(&Bearer::parse(&forged).expect("its form is right")), None, "the secret of another");
    }
}
