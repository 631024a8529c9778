//! The one place where what happened becomes an exit code and an error message.

use std::io;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use loyalty_bridge::BridgeError;
use loyalty_common::amqp;
use loyalty_common::escape::{self, Escaped};
use loyalty_common::topology::DeclareError;
use loyalty_producer::{ConnectError, PublishError};
use loyalty_store::StoreError;
use loyalty_store::migrate::MigrateError;
use loyalty_store::token::TokenError;
use loyalty_worker::Error as WorkerError;
use loyalty_worker::mail::MailerError;

use crate::exit::{ExitStatus, Usage};
use crate::output;
use crate::settings::SettingsError;
use crate::topology::{BrokerError, ManagementError};

/// The exit code, after saying on standard error what went wrong, if anything did.
pub(crate) fn conclude(result: anyhow::Result<ExitStatus>) -> ExitCode {
    match result {
        Ok(ExitStatus::Success) => ExitCode::SUCCESS,
        Ok(ExitStatus::Failure) => ExitCode::from(NO),
        // `loyalty member list | head`: who reads the answer has enough of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed as well, and there is nowhere else to say so.
            let _ = output::note(&format!("error: {}\n", message(&error)));
            ExitCode::from(code(&error))
        }
    }
}

/// What clap has to say: help, or that the command line makes no sense. It quotes what it could not read, and that may
/// be a URL in the wrong place.
pub(crate) fn wrong_usage(error: clap::Error) -> ExitCode {
    let error = spelled_out(error);
    let told = error.render().to_string();
    let shown = without_urls(&told, given());
    let shown = escape::lines(&shown);
    let as_it_is = !error.use_stderr() || shown == told;
    let written = if as_it_is { error.print() } else { output::note(&shown) };
    // As with every other error: nobody may be there to read it.
    let _ = written;
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE))
}

/// The same error, in which no break of a line is anybody else's.
fn spelled_out(mut error: clap::Error) -> clap::Error {
    let escaped = |text: &str| Escaped(text).to_string();
    let spelled: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) if kind != ContextKind::Usage => {
                Some((kind, ContextValue::String(escaped(text))))
            }
            ContextValue::Strings(texts) => {
                Some((kind, ContextValue::Strings(texts.iter().map(|text| escaped(text)).collect())))
            }
            _ => None,
        })
        .collect();
    for (kind, value) in spelled {
        error.insert(kind, value);
    }
    error
}

/// Everything that the command line and the environment say.
fn given() -> impl Iterator<Item = String> {
    std::env::args_os().chain(crate::environment::values()).map(|value| value.to_string_lossy().into_owned())
}

fn without_urls(told: &str, given: impl Iterator<Item = String>) -> String {
    let mut told = told.to_owned();
    for given in given.filter(|given| given.contains("://")) {
        let value = given.strip_prefix("--").and_then(|flag| flag.split_once('=')).map(|(_, value)| value);
        for url in [Some(given.as_str()), value].into_iter().flatten() {
            told = told.replace(url, "(a URL)");
        }
    }
    told
}

const NO: u8 = 1;
const WRONG_USAGE: u8 = 2;
const SERVER_AWAY: u8 = 3;

/// The error with its causes, one a line. Some libraries put a cause's text into their own as well; once is enough.
fn message(error: &anyhow::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in error.chain().map(ToString::to_string) {
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
    }
    // A break in what a server said must not begin a line of its own.
    let texts: Vec<String> = texts.iter().map(|text| text.replace('\n', "\n    ")).collect();
    texts.join("\n  because: ") + hint(error).unwrap_or_default()
}

/// What to do about an error whose text cannot know it.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    /// PostgreSQL's code for a table that is not there.
    const UNDEFINED_TABLE: &str = "42P01";
    /// And for a column.
    const UNDEFINED_COLUMN: &str = "42703";
    let store = error.chain().find_map(|cause| cause.downcast_ref::<StoreError>())?;
    match store {
        StoreError::Query(error) if error.code().is_some_and(|code| code.code() == UNDEFINED_TABLE) => {
            Some("\nThe tables are not there yet: run `loyalty migrate`.")
        }
        StoreError::Query(error) if error.code().is_some_and(|code| code.code() == UNDEFINED_COLUMN) => {
            Some("\nThe tables are those of another release: run `loyalty migrate`, or start the newer program.")
        }
        StoreError::Query(_)
        | StoreError::Connect(_)
        | StoreError::Untrusted(_)
        | StoreError::Authorities(_)
        | StoreError::Randomness(_)
        | StoreError::SharedSessions
        | StoreError::UnexpectedValue { .. } => None,
    }
}

fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(NO)
}

/// The code of one error of a chain, if it decides.
fn code_of(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<SettingsError>() {
        return Some(match error {
            SettingsError::NotGiven { .. } => SERVER_AWAY,
            SettingsError::Url { .. }
            | SettingsError::Read { .. }
            | SettingsError::Config { .. }
            | SettingsError::Foreign { .. } => WRONG_USAGE,
        });
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return Some(code_of_store(error));
    }
    // Those that speak for the store do not name it as their cause.
    if let Some(MigrateError::Store(error)) = error.downcast_ref() {
        return Some(code_of_store(error));
    }
    if let Some(TokenError::Store(error)) = error.downcast_ref() {
        return Some(code_of_store(error));
    }
    if let Some(BridgeError::Store(error)) = error.downcast_ref() {
        return Some(code_of_store(error));
    }
    if let Some(error) = error.downcast_ref() {
        return match error {
            WorkerError::Store(error) => Some(code_of_store(error)),
            WorkerError::Mailer(_) => Some(WRONG_USAGE),
            WorkerError::Panicked(_) => None,
        };
    }
    if let Some(DeclareError { source, .. }) = error.downcast_ref() {
        // A refusal closes the channel and is the broker's answer; anything else is its absence.
        return Some(if matches!(source.kind(), lapin::ErrorKind::ProtocolError(_)) { NO } else { SERVER_AWAY });
    }
    if let Some(error) = error.downcast_ref::<ManagementError>() {
        return Some(code_of_management(error));
    }
    if let Some(error) = error.downcast_ref::<lapin::Error>() {
        // As above.
        return Some(if matches!(error.kind(), lapin::ErrorKind::ProtocolError(_)) { NO } else { SERVER_AWAY });
    }
    if error.is::<BrokerError>() {
        return Some(SERVER_AWAY);
    }
    if error.is::<MailerError>() {
        return Some(WRONG_USAGE);
    }
    if let Some(amqp::ConnectError::Authorities(_)) = error.downcast_ref() {
        return Some(WRONG_USAGE);
    }
    let away = error.is::<amqp::ConnectError>() || error.is::<ConnectError>() || error.is::<PublishError>();
    let usage = error.is::<Usage>() || error.is::<clap::Error>();
    away.then_some(SERVER_AWAY).or(usage.then_some(WRONG_USAGE))
}

fn code_of_store(error: &StoreError) -> u8 {
    match error {
        StoreError::Connect(_) | StoreError::Untrusted(_) => SERVER_AWAY,
        StoreError::Authorities(_) | StoreError::SharedSessions => WRONG_USAGE,
        // What the server refuses because of its state (starting, read-only, tables missing) may be fixed there.
        StoreError::Query(_) => {
            if error.is_content_refused() {
                NO
            } else {
                SERVER_AWAY
            }
        }
        StoreError::UnexpectedValue { .. } | StoreError::Randomness(_) => NO,
    }
}

fn code_of_management(error: &ManagementError) -> u8 {
    match error {
        ManagementError::Url { .. } => WRONG_USAGE,
        ManagementError::Away { .. } | ManagementError::TimedOut { .. } => SERVER_AWAY,
        ManagementError::Refused { status, .. } => {
            if status.is_server_error() {
                SERVER_AWAY
            } else {
                NO
            }
        }
        ManagementError::Certificates(_) | ManagementError::Foreign { .. } => NO,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn an_exit_code_says_what_kind_of_trouble_it_was() {
        let check = |error: anyhow::Error, expected: u8| assert_eq!(code(&error), expected, "{error:#}");
        let not_given = || SettingsError::NotGiven { server: "RabbitMQ", flag: "amqp-url", env: "LOYALTY_AMQP_URL" };
        check(not_given().into(), SERVER_AWAY);
        check(anyhow::Error::from(not_given()).context("while publishing"), SERVER_AWAY);
        check(ConnectError { reason: "refused".into() }.into(), SERVER_AWAY);
        check(PublishError::Closed.into(), SERVER_AWAY);
        check(Usage("no such column".into()).into(), WRONG_USAGE);
        check(StoreError::SharedSessions.into(), WRONG_USAGE);
        check(WorkerError::Store(StoreError::SharedSessions).into(), WRONG_USAGE);
        check(BridgeError::Store(StoreError::SharedSessions).into(), WRONG_USAGE);
        check(StoreError::UnexpectedValue { column: "member.status" }.into(), NO);
        check(anyhow!("something else"), NO);
    }

    #[test]
    fn causes_are_told_in_order_and_once() {
        let error = anyhow!("connection refused").context("could not connect").context("could not publish");
        let error = error.context("could not publish");
        assert_eq!(message(&error), "could not publish\n  because: could not connect\n  because: connection refused");
    }
}
