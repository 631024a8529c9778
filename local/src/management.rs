//! The three questions we ask of `RabbitMQ`'s management API, over a plain connection to 127.0.0.1.
//!
//! It closes the connection after each answer, and only the status line is read: bodies tell us nothing we need.

use std::{io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Making a virtual host takes 30 ms; removing one with thirty quorum queues a few seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A status line is short; what is longer does not come from the server we started.
const STATUS_LINE_BYTES: u64 = 1024;

/// Why the API did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// It could not be reached, or did not speak HTTP.
    #[error("no answer from RabbitMQ's management API to {request}")]
    Unreachable { request: String, source: io::Error },
    /// It answered with something else than success.
    #[error("RabbitMQ's management API answered {status} to {request}")]
    Refused { request: String, status: u16 },
}

/// The API of one node.
pub(crate) struct Management {
    port: u16,
    authorization: String,
}

impl Management {
    pub(crate) fn new(port: u16, user: &str, password: &str) -> Self {
        Self { port, authorization: STANDARD.encode(format!("{user}:{password}")) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Succeeds when the API serves our user.
    pub(crate) async fn ping(&self) -> Result<(), ManagementError> {
        self.ask("GET", "/api/whoami", "").await
    }

    /// Makes a virtual host and gives `user` all rights in it.
    pub(crate) async fn create_vhost(&self, name: &str, user: &str) -> Result<(), ManagementError> {
        self.ask("PUT", &format!("/api/vhosts/{}", percent_encoded(name)), "").await?;
        self.set_permissions(name, user, ".*").await
    }

    /// Gives `user` all rights in a virtual host, but that of writing only where `write` matches.
    pub(crate) async fn set_permissions(&self, vhost: &str, user: &str, write: &str) -> Result<(), ManagementError> {
        let rights = format!(r#"{{"configure":".*","write":"{write}","read":".*"}}"#);
        self.ask("PUT", &format!("/api/permissions/{}/{user}", percent_encoded(vhost)), &rights).await
    }

    /// Removes a virtual host and everything in it.
    pub(crate) async fn delete_vhost(&self, name: &str) -> Result<(), ManagementError> {
        self.ask("DELETE", &format!("/api/vhosts/{}", percent_encoded(name)), "").await
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Result<(), ManagementError> {
        let request = format!("{method} {path}");
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.exchange(method, path, body)).await;
        match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(200..=299) => Ok(()),
            Ok(status) => Err(ManagementError::Refused { request, status }),
            Err(source) => Err(ManagementError::Unreachable { request, source }),
        }
    }

    async fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Basic {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.authorization,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream).take(STATUS_LINE_BYTES).read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
    }
}

/// A name as one part of a URL's path: everything but RFC 3986's unreserved characters is encoded.
pub(crate) fn percent_encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |encoded, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded + &char::from(byte).to_string(),
        _ => encoded + &format!("%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_is_part_of_the_name() {
        assert_eq!(percent_encoded("/"), "%2F");
        assert_eq!(percent_encoded("test-1_a.b~"), "test-1_a.b~");
        assert_eq!(percent_encoded("ü 1"), "%C3%BC%201");
    }
}
