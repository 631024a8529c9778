//! Logs: one line a message, to standard error, so that standard output stays for answers.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What a service logs when `RUST_LOG` says nothing. lapin logs each lost connection at error level as well as
/// returning it; its owner reports it once.
const SERVICE_FILTER: &str = "info,lapin=off,lettre=warn,tokio_postgres=warn";

/// What a command logs that somebody waits for: only what they should know beside its answer.
const COMMAND_FILTER: &str = "warn,lapin=off";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}

/// Who logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// A process that runs for long and whose log is its diary.
    Service,
    /// A command that ends by itself and says what it has to say in its answer.
    Command,
}

/// Starts logging for the process. Later calls do nothing.
pub fn init(format: LogFormat, source: LogSource) {
    let default = match source {
        LogSource::Service => SERVICE_FILTER,
        LogSource::Command => COMMAND_FILTER,
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Colours are for eyes: a file or a collector gets none.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
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
