//! Both private servers of one directory, started side by side.

use std::path::Path;

use crate::{Durability, MissingBinary, Postgres, PostgresError, RabbitMq, RabbitMqError, binaries};

/// Which of the servers failed.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// The programs of one are not installed; neither was started.
    #[error(transparent)]
    Missing(#[from] MissingBinary),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    RabbitMq(#[from] RabbitMqError),
}

/// A private `PostgreSQL` and a private `RabbitMQ`.
#[derive(Debug)]
pub struct Servers {
    pub postgres: Postgres,
    pub rabbitmq: RabbitMq,
}

impl Servers {
    /// Starts both with their data in `dir`. If one fails the other is asked to stop.
    pub async fn start(dir: &Path, durability: Durability) -> Result<Self, ServersError> {
        binaries::postgres(None)?;
        binaries::rabbitmq_server()?;
        binaries::erlang("epmd")?;
        let postgres = async { Ok::<_, ServersError>(Postgres::start_with(dir, durability).await?) };
        let rabbitmq = async { Ok::<_, ServersError>(RabbitMq::start(dir).await?) };
        let (postgres, rabbitmq) = tokio::try_join!(postgres, rabbitmq)?;
        Ok(Self { postgres, rabbitmq })
    }

    /// Stops both and waits until they have ended.
    pub async fn stop(&self) {
        tokio::join!(self.postgres.stop(), self.rabbitmq.stop());
    }

    /// Resolves when one of them has ended, and says which.
    pub async fn ended(&self) -> &'static str {
        tokio::select! {
            () = self.postgres.ended() => "PostgreSQL",
            () = self.rabbitmq.ended() => "RabbitMQ",
        }
    }
}
