//! A mail server that answers what a test wrote down, byte by byte, and remembers what it was told.

use std::sync::{Arc, Mutex};

use loyalty_worker::mail::SmtpUrl;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it answers, line ends included.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) greeting: &'static [u8],
    pub(crate) ehlo: &'static [u8],
    pub(crate) helo: &'static [u8],
    pub(crate) mail: &'static [u8],
    pub(crate) rcpt: &'static [u8],
    pub(crate) data: &'static [u8],
    pub(crate) text: &'static [u8],
}

impl Default for Script {
    /// A server that takes every email and has no extensions.
    fn default() -> Self {
        Self {
            greeting: b"220 mx.example ready\r\n",
            ehlo: b"250 mx.example\r\n",
            helo: b"250 mx.example\r\n",
            mail: b"250 ok\r\n",
            rcpt: b"250 ok\r\n",
            data: b"354 go on\r\n",
            text: b"250 taken\r\n",
        }
    }
}

#[derive(Clone)]
pub(crate) struct Scripted {
    script: Arc<Mutex<Script>>,
    heard: Arc<Mutex<Vec<String>>>,
    port: u16,
}

impl Scripted {
    pub(crate) async fn start(script: Script) -> Self {
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = door.local_addr().expect("an address").port();
        let server = Self { script: Arc::new(Mutex::new(script)), heard: Arc::default(), port };
        let host = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = door.accept().await {
                let host = host.clone();
                // Who hears something unexpected goes away in the middle.
                tokio::spawn(async move { drop(host.serve(stream).await) });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> SmtpUrl {
        SmtpUrl::known(format!("smtp://127.0.0.1:{}", self.port))
    }

    /// Answers otherwise from now on.
    pub(crate) fn follow(&self, script: Script) {
        *self.script.lock().expect("nobody panicked") = script;
    }

    /// The commands that began so, of all connections.
    pub(crate) fn heard(&self, verb: &str) -> Vec<String> {
        let heard = self.heard.lock().expect("nobody panicked");
        heard.iter().filter(|line| line.starts_with(verb)).cloned().collect()
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let script = || *self.script.lock().expect("nobody panicked");
        stream.write_all(script().greeting).await?;
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 0 {
            self.heard.lock().expect("nobody panicked").push(line.trim_end().to_owned());
            let answer = match line.get(..4) {
                Some("EHLO") => script().ehlo,
                Some("HELO") => script().helo,
                Some("MAIL") => script().mail,
                Some("RCPT") => script().rcpt,
                Some("DATA") => script().data,
                Some("QUIT") => b"221 bye\r\n",
                Some(_) | None => b"250 ok\r\n",
            };
            stream.write_all(answer).await?;
            if answer.starts_with(b"354") {
                while line != ".\r\n" {
                    line.clear();
                    if stream.read_line(&mut line).await? == 0 {
                        return Ok(());
                    }
                }
                stream.write_all(script().text).await?;
            }
            line.clear();
        }
        Ok(())
    }
}
