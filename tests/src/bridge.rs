//! A running bridge and what clients ask of it.

use std::net::SocketAddr;

use crate::http::{self, Answer};
use crate::program::Program;

/// A running `loyalty bridge`.
#[derive(Debug)]
pub struct Bridge {
    program: Program,
    addr: SocketAddr,
}

impl Bridge {
    /// Waits until the bridge listens.
    pub(crate) async fn listening(program: Program) -> Self {
        let addr = program.tells("http.address=").await.parse().expect("an address");
        Self { program, addr }
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }

    /// `POST` without a body.
    pub async fn post(&self, path: &str) -> Answer {
        self.send("POST", path, &[], None).await
    }

    /// `POST` of JSON.
    pub async fn post_json(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], Some(body)).await
    }

    /// `POST` with an `Idempotency-Key`.
    pub async fn post_once(&self, path: &str, key: &str) -> Answer {
        self.send("POST", path, &[("idempotency-key", key)], None).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], None).await
    }

    /// Any request.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        http::send(self.addr, method, path, headers, body).await
    }

    /// Waits until it has logged `text`.
    pub async fn says(&self, text: &str) {
        self.program.says(text).await;
    }

    pub fn into_program(self) -> Program {
        self.program
    }
}
