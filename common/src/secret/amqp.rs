//! URLs of RabbitMQ.

use lapin::uri::AMQPUri;

use super::{Endpoint, Parts, Problem};

/// RabbitMQ, as the driver takes it. Its own `Debug` would show the password.
#[derive(Clone)]
pub struct Amqp {
    uri: AMQPUri,
    parts: Parts,
}

impl Amqp {
    /// For the driver.
    pub const fn uri(&self) -> &AMQPUri {
        &self.uri
    }
}

impl Endpoint for Amqp {
    const EXAMPLE: &'static str = "amqp://user:password@host:5672/vhost";

    fn parse(url: &str) -> Result<Self, Problem> {
        let begins = Problem("it must begin with amqp:// or amqps://");
        let parts = Parts::parse(url, ["amqp", "amqps"], begins)?;
        // Its errors may quote the URL.
        let uri: Result<AMQPUri, _> = url.parse();
        let mut uri = uri.map_err(|_| Problem("its virtual host or what follows the `?` cannot be read"))?;
        // The driver takes an IPv6 address for no host at all, and would go to localhost.
        parts.host().clone_into(&mut uri.authority.host);
        Ok(Self { uri, parts })
    }

    fn shown(&self) -> String {
        self.parts.shown(true)
    }
}
