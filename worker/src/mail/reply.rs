//! What a mail server answers: a code and lines of text (RFC 5321, 4.2).
//!
//! Read as servers write it and not only as they should: lines may end without CR, the last without a space, the text
//! may be in any encoding and of any length. Only the code must be one.

use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::outcome::Failure;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// What the first digit of a code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// 2xx
    Done,
    /// 3xx: go on.
    More,
    /// 4xx
    Passing,
    /// 5xx
    Permanent,
}

/// The longest answer. Nobody reads as much; more means that it has no end.
const BYTES_MAX: u64 = 100_000;

/// Reads an answer up to its end.
pub(crate) async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, Failure> {
    let mut stream = stream.take(BYTES_MAX);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).await.map_err(|error| Failure::Broken(error.to_string()))?;
        if line.pop() != Some(b'\n') {
            let ended = if stream.limit() == 0 { "its answer has no end" } else { "the server closed it" };
            return Err(Failure::Broken(ended.to_owned()));
        }
        let (code, more, text) = parts(&line).ok_or_else(|| Failure::Broken("its answer has no code".to_owned()))?;
        lines.push(String::from_utf8_lossy(text).trim_end().to_owned());
        if !more {
            return Ok(Reply { code, lines });
        }
    }
}

/// The code of a line, whether others follow, and its text.
fn parts(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let fits = (200..600).contains(&code) && rest.first().is_none_or(|next| !next.is_ascii_alphanumeric());
    fits.then(|| (code, rest.first() == Some(&b'-'), rest.get(1..).unwrap_or_default()))
}

impl Reply {
    /// The text, line by line.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    pub(crate) fn severity(&self) -> Severity {
        match self.code {
            ..300 => Severity::Done,
            300..400 => Severity::More,
            400..500 => Severity::Passing,
            500.. => Severity::Permanent,
        }
    }

    /// The answer, if it is of the kind that the dialogue goes on with.
    pub(crate) fn expect(self, expected: Severity) -> Result<Self, Failure> {
        let reply = self.accepted()?;
        if reply.severity() == expected {
            return Ok(reply);
        }
        Err(Failure::Broken(format!("its answer makes no sense here: {}", reply.said())))
    }

    /// The answer, if it is no refusal.
    pub(crate) fn accepted(self) -> Result<Self, Failure> {
        match self.severity() {
            Severity::Done | Severity::More => Ok(self),
            Severity::Passing | Severity::Permanent => {
                Err(Failure::Refused { code: self.code, text: self.lines.join(" ") })
            }
        }
    }

    /// Code and text on one line.
    pub(crate) fn said(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" "))
    }

    /// As lettre reads a challenge of a login.
    pub(crate) fn as_challenge(&self) -> Result<Response, lettre::transport::smtp::Error> {
        format!("{} {}\r\n", self.code, self.lines.first().map_or("", String::as_str)).parse()
    }

    #[cfg(test)]
    pub(crate) fn of(code: u16, lines: &[&str]) -> Self {
        Self { code, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_a_code_and_whatever_text() {
        let check = async |bytes: &[u8], expected: Reply| {
            assert_eq!(read(&mut &bytes[..]).await.expect("an answer"), expected);
        };
        check(b"250 ok\r\nmore", Reply::of(250, &["ok"])).await;
        check(b"250-mx\r\n250-SIZE 1\r\n250 HELP\r\n", Reply::of(250, &["mx", "SIZE 1", "HELP"])).await;
        check(b"354\n", Reply::of(354, &[""])).await;
        check(b"250 Schl\xfcssel\r\n", Reply::of(250, &["Schl\u{fffd}ssel"])).await;
        check(b"550-\xc4\r\n550 \xe9t\xe9\r\n", Reply::of(550, &["\u{fffd}", "\u{fffd}t\u{fffd}"])).await;
        // The last line's code counts.
        check(b"250-a\r\n550 b\r\n", Reply::of(550, &["a", "b"])).await;
        check(&[b"250 ", &[b'x'; 5_000][..], b"\r\n"].concat(), Reply::of(250, &[&"x".repeat(5_000)])).await;
    }

    #[tokio::test]
    async fn what_is_no_answer_breaks_the_connection() {
        let endless = b"250-x\r\n".repeat(20_000);
        for bytes in [&b""[..], b"250 ok", b"ok\r\n", b"2500\r\n", b"199 x\r\n", b"25\xfc x\r\n", b"+OK\r\n", &endless]
        {
            let failure = read(&mut &bytes[..]).await.expect_err("no answer");
            assert!(matches!(failure, Failure::Broken(_)), "{failure:?}");
        }
    }
}
