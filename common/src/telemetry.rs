//! Logs: one line a message, to standard error, so that standard output stays for answers.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What is logged when `RUST_LOG` says nothing. lapin logs each lost connection at error level as well as returning
/// it; its owner reports it once.
const DEFAULT_FILTER: &str = "info,lapin=off,lettre=warn";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}

/// Starts logging for the process. Later calls do nothing.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Text => lines.with_target(false).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    // An error here means that logging is running already, which is what was asked.
    let _ = tracing_subscriber::registry().with(layer.with_filter(discretion())).try_init();
}

/// What must not be logged whatever `RUST_LOG` asks for: these write the values of statements, the bodies of messages
/// and the lines of a mail server's dialogue, and so addresses and passwords.
fn discretion() -> Targets {
    Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_target("tokio_postgres", LevelFilter::INFO)
        .with_target("lapin", LevelFilter::DEBUG)
        .with_target("lettre", LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn what_writes_values_is_silent_at_every_level_that_does() {
        let check = |target: &str, level: Level, logged: bool| {
            assert_eq!(discretion().would_enable(target, &level), logged, "{target} {level}");
        };
        check("tokio_postgres::query", Level::DEBUG, false);
        check("tokio_postgres::connection", Level::INFO, true);
        check("lapin::channels", Level::TRACE, false);
        check("lettre::transport::smtp", Level::DEBUG, false);
        check("loyalty_worker::lane", Level::TRACE, true);
    }
}
