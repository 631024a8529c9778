//! Logs: one line a message, to standard error, so that standard output stays for answers.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::escape::{Escaped, JsonWriter};

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
    #[expect(clippy::disallowed_methods, reason = "a convention of terminals; every process logs through here")]
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let layer = match format {
        LogFormat::Text => lines.with_target(false).fmt_fields(VisibleFields::default()).with_filter(filter).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_writer(|| JsonWriter(std::io::stderr())).with_filter(filter).boxed()
        }
    };
    // An error here means that logging is running already, which is what was asked.
    let _ = tracing_subscriber::registry().with(layer.with_filter(discretion())).try_init();
}

/// Message and fields of a line for people, with what a terminal would obey spelled out: they quote what others sent.
#[derive(Debug, Default)]
struct VisibleFields(DefaultFields);

impl<'writer> FormatFields<'writer> for VisibleFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut text = String::new();
        self.0.format_fields(Writer::new(&mut text), fields)?;
        write!(writer, "{}", Escaped(text))
    }
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
        check("loyalty_worker::batch_processor", Level::TRACE, true);
    }

    #[test]
    fn what_others_sent_cannot_forge_a_line_of_the_log() {
        const HOSTILE: &str = "\u{1b}[2J\u{9b}2J\u{202e}\n2026 INFO forged";
        #[derive(Clone, Default)]
        struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl std::io::Write for Kept {
            fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
                self.0.lock().expect("nobody panicked").extend(line);
                Ok(line.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (text, json) = (Kept::default(), Kept::default());
        let (to_text, to_json) = (text.clone(), json.clone());
        let lines = tracing_subscriber::fmt::layer().with_ansi(false);
        let layer = lines.with_writer(move || to_text.clone()).fmt_fields(VisibleFields::default());
        let lines = tracing_subscriber::fmt::layer().json().with_writer(move || JsonWriter(to_json.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer).with(lines), || {
            tracing::info!(error = HOSTILE, queue = %HOSTILE, "{HOSTILE}");
        });
        for kept in [text, json] {
            let line = String::from_utf8(kept.0.lock().expect("nobody panicked").clone()).expect("UTF-8");
            assert!(line.contains("forged") && !line.contains(crate::escape::is_hidden), "{line:?}");
            assert_eq!(line.lines().count(), 1, "{line:?}");
        }
    }
}
