//! Logs: one line a message, to standard error, so that standard output stays for answers.

use tracing_subscriber::EnvFilter;

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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error here means that logging is running already, which is what was asked.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
