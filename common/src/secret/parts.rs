//! What the URLs of all servers have in common: scheme, user, password, host, port and path.

use percent_encoding::percent_decode_str;
use url::{ParseError, Url};

use super::Problem;

/// A URL that was read, and in which no part stands where another is meant.
#[derive(Clone)]
pub struct Parts(Url);

impl Parts {
    /// Reads a URL that begins with one of two schemes. `begins` says which.
    pub fn parse(url: &str, schemes: [&str; 2], begins: Problem) -> Result<Self, Problem> {
        let login = written_login(url);
        let url = Url::parse(url).map_err(|error| match error {
            // The beginning of a password, if an unencoded slash or the like came behind it.
            ParseError::InvalidPort => Problem("its port is no number, or a character of its password is not encoded"),
            ParseError::EmptyHost => Problem::NO_HOST,
            _ => Problem("it is not a URL"),
        })?;
        if !schemes.contains(&url.scheme()) {
            return Err(begins);
        }
        if url.host_str().unwrap_or_default().is_empty() {
            return Err(Problem::NO_HOST);
        }
        // An `@` behind the host: what looks like host and port is the user and the beginning of a password.
        if url.fragment().is_some() || url.path().contains('@') || url.query().is_some_and(|query| query.contains('@'))
        {
            return Err(Problem::UNENCODED);
        }
        // Read leniently it would be a password, but not the same one to every program.
        if login.contains('@') {
            return Err(Problem::UNENCODED);
        }
        if !is_encoded(login) {
            return Err(Problem("a `%` in a user or password must be percent-encoded (%25)"));
        }
        let parts = Self(url);
        parts.user_and_password()?;
        Ok(parts)
    }

    /// The URL as it was read.
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// The host; an IPv6 address without the brackets that it has in a URL and nowhere else.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// User and password, decoded, if there are any.
    pub fn login(&self) -> Option<(String, String)> {
        self.user_and_password().ok().flatten()
    }

    fn user_and_password(&self) -> Result<Option<(String, String)>, Problem> {
        let decode = |text| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(String::from).map_err(|_| Problem("its user or password is not UTF-8"))
        };
        match (self.0.username(), self.0.password()) {
            ("", None) => Ok(None),
            (user, password) => Ok(Some((decode(user)?, decode(password.unwrap_or_default())?))),
        }
    }

    /// Scheme, user, host and port. The path, if it names what we use on the server; elsewhere it may be a token.
    pub fn shown(&self, with_path: bool) -> String {
        let url = &self.0;
        let user = (!url.username().is_empty() || url.password().is_some())
            .then(|| (url.username(), url.password().is_some()));
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = if with_path { url.path().trim_end_matches('/') } else { "" };
        shown(url.scheme(), user, &format!("{}{port}{path}", url.host_str().unwrap_or_default()))
    }
}

/// User and password as they are written. Reading a URL encodes what was not.
fn written_login(url: &str) -> &str {
    let authority =
        url.split_once("//").and_then(|(_, behind)| behind.split(['/', '?', '#']).next()).unwrap_or_default();
    authority.rsplit_once('@').map_or("", |(login, _)| login)
}

/// Whether two hexadecimal digits follow each `%`.
fn is_encoded(text: &str) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    text.split('%').skip(1).all(|after| after.as_bytes().get(..2).is_some_and(is_hex))
}

/// A URL of these parts with its password hidden. A user without one may be a token, and is hidden too.
pub fn shown(scheme: &str, user: Option<(&str, bool)>, host_and_path: &str) -> String {
    match user {
        None => format!("{scheme}://{host_and_path}"),
        Some((user, true)) if is_plain(user) => format!("{scheme}://{user}:***@{host_and_path}"),
        Some(_) => format!("{scheme}://***@{host_and_path}"),
    }
}

/// A name as servers have them, and nothing that was meant to be more than one part of a URL.
fn is_plain(user: &str) -> bool {
    user.chars().all(|c| c.is_alphanumeric() || "-_.%".contains(c))
}
