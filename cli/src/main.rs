//! The one binary, `loyalty`: reads the command line, calls the crates, prints the answer, and says by its exit code
//! what the answer was. Nothing about points is decided here.
//!
//! One file a command. [`settings`] finds the servers, [`output`] prints, [`exit_code`] turns errors into exit codes.

#![allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "the docs of arguments are the help that a terminal shows, where Markdown is noise"
)]
// Not by `println!` either.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod auth_flags;
mod bench;
mod bridge;
mod completions;
mod confirmation;
mod dead_letters;
mod dev;
mod emails;
mod environment;
mod exit;
mod exit_code;
mod http_client;
mod import;
mod member;
mod metrics_server;
mod migrate;
mod output;
mod publish;
mod rebuild;
mod receipt;
mod schema;
mod settings;
mod shutdown_signal;
mod stack_size;
mod sweep;
mod time_arg;
mod token;
mod topology;
mod traces;
mod verify;
mod worker;
mod workers;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use loyalty_common::telemetry::{self, LogFormat, LogSource};
use loyalty_store::Pool;
use loyalty_store::pool::PlannerProfile;

use exit::ExitStatus;
use output::Output;
use settings::Settings;
use traces::Traces;

/// Loyalty points that are neither lost nor doubled, on RabbitMQ and PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "loyalty", version, max_term_width = 100, after_help = EXAMPLES, after_long_help = LONG_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// The format of logs, which go to standard error
    #[arg(long, global = true, value_enum, default_value_t, env = "LOYALTY_LOG_FORMAT", hide_short_help = true)]
    log_format: LogStyle,
    // Last, since its heading is that of all flags after it.
    #[command(flatten)]
    settings: Settings,
}

const EXAMPLES: &str = "\
Begin with `loyalty dev` in one terminal and, in the next:
  loyalty publish enroll ann --email ann@example.com --wait 5s
  loyalty publish earn ann 1200 --reason 'order 991' --wait 5s
  loyalty member show ann";

const LONG_HELP: &str = "\
Begin with `loyalty dev` in one terminal: it starts a private PostgreSQL and RabbitMQ, a worker, the
HTTP bridge and a mailbox. Every other command finds them, from the same directory or one below:
  loyalty publish enroll ann --email ann@example.com --wait 5s
  loyalty publish earn ann 1200 --reason 'order 991' --wait 5s
  loyalty member show ann
  loyalty verify

In production, prepare the servers once and run the two services:
  export LOYALTY_AMQP_URL=amqp://user:password@rabbitmq:5672/loyalty
  export LOYALTY_DATABASE_URL=postgres://user:password@postgres/loyalty
  loyalty migrate && loyalty topology
  loyalty worker
  loyalty token create --scope publish,read --name web-shop
  loyalty bridge --http 0.0.0.0:5000

Exit codes:
  0  done
  1  the answer is no: refused, not found, not clean, or it could not be done
  2  wrong usage: of the command line, of loyalty.toml or of a file's columns
  3  a server is away or not prepared; the same call may succeed later";

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Dev),
    Worker(worker::Worker),
    Workers(workers::Workers),
    Bridge(bridge::Bridge),
    Migrate(migrate::Migrate),
    Topology(topology::CheckOrDeclare),
    Publish(publish::Publish),
    Import(Box<import::Import>),
    Member(member::Members),
    Receipt(receipt::ShowReceipt),
    DeadLetters(Box<dead_letters::DeadLetters>),
    Emails(emails::Emails),
    Verify(verify::Verify),
    Rebuild(rebuild::Rebuild),
    Sweep(sweep::Sweep),
    Token(token::Tokens),
    Bench(bench::Bench),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogStyle {
    /// For a person at a terminal.
    #[default]
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Text => Self::Text,
            LogStyle::Json => Self::Json,
        }
    }
}

impl Command {
    /// Whether it reads messages that others have written.
    const fn takes_deliveries(&self) -> bool {
        matches!(self, Self::Dev(_) | Self::Worker(_))
    }

    /// Whether it may need a server. What only prints what this binary knows is not kept by a mistyped URL.
    const fn needs_settings(&self) -> bool {
        !matches!(self, Self::Schema(_) | Self::Completions(_))
    }

    const fn log_source(&self) -> LogSource {
        if self.service().is_some() { LogSource::Service } else { LogSource::Command }
    }

    /// Its name among other services, if it is one: it runs until it is told to stop.
    const fn service(&self) -> Option<&'static str> {
        match self {
            Self::Dev(_) => Some("loyalty"),
            Self::Worker(_) => Some("loyalty-worker"),
            Self::Bridge(_) => Some("loyalty-bridge"),
            Self::Migrate(_)
            | Self::Topology(_)
            | Self::Workers(_)
            | Self::Publish(_)
            | Self::Import(_)
            | Self::Member(_)
            | Self::Receipt(_)
            | Self::DeadLetters(_)
            | Self::Emails(_)
            | Self::Verify(_)
            | Self::Rebuild(_)
            | Self::Sweep(_)
            | Self::Token(_)
            | Self::Bench(_)
            | Self::Schema(_)
            | Self::Completions(_) => None,
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit_code::wrong_usage(error),
    };
    telemetry::init(cli.log_format.into(), cli.command.log_source());
    if cli.command.takes_deliveries() {
        stack_size::make_room();
    }
    exit_code::conclude(conduct(cli))
}

#[tokio::main]
async fn conduct(cli: Cli) -> anyhow::Result<ExitStatus> {
    let context = Context { settings: cli.settings, output: Output::new(cli.json) };
    if cli.command.needs_settings() {
        context.settings.check()?;
    }
    let traces = Traces::start(cli.command.service(), &context.settings)?;
    let answer = run(cli.command, &context).await;
    traces.close().await;
    answer
}

/// What every command needs besides its own arguments.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) output: Output,
}

impl Context {
    /// Connections to the database for a command: `size` of them, and two at least. An error if a pooler before it
    /// would share them with others.
    pub(crate) async fn pool(&self, profile: PlannerProfile, size: usize) -> anyhow::Result<Pool> {
        Ok(Pool::with_own_sessions(&self.settings.database()?, profile, size).await?)
    }
}

async fn run(command: Command, context: &Context) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Dev(dev) => dev.run(context).await,
        Command::Bridge(bridge) => bridge.run(context).await,
        Command::Worker(worker) => worker.run(context).await,
        Command::Workers(workers) => workers.run(context).await,
        Command::Migrate(migrate) => migrate.run(context).await,
        Command::Topology(topology) => topology.run(context).await,
        Command::Publish(publish) => publish.run(context).await,
        Command::Import(import) => import.run(context).await,
        Command::Member(members) => members.run(context).await,
        Command::Receipt(receipt) => receipt.run(context).await,
        Command::DeadLetters(dead_letters) => dead_letters.run(context).await,
        Command::Emails(emails) => emails.run(context).await,
        Command::Verify(verify) => verify.run(context).await,
        Command::Rebuild(rebuild) => rebuild.run(context).await,
        Command::Sweep(sweep) => sweep.run(context).await,
        Command::Token(tokens) => tokens.run(context).await,
        Command::Bench(bench) => bench.run(context).await,
        Command::Schema(schema) => schema.run(context),
        Command::Completions(completions) => completions.run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
