//! `loyalty publish`: one command, confirmed by the broker, and with `--wait` what became of it.

mod subcommands;

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use loyalty_common::command::to_microseconds;
use loyalty_common::{Command, CommandId, CommandType, MemberId, Outcome, Receipt, Text};
use loyalty_ledger::CommandContent;
use loyalty_producer::{Limits, Producer};
use loyalty_store::pool::PlannerProfile;
use loyalty_store::read::CommandState;
use loyalty_store::receipt_poller::ReceiptPoller;
use loyalty_store::{Pool, member_statuses};
use serde::Serialize;
use tokio::time::Instant;

use crate::Context;
use crate::exit::{ExitStatus, Usage};
use crate::receipt;
use subcommands::Typed;

/// Publish one command
///
/// It is done when the broker has confirmed it: from then on it is applied, refused with a recorded reason, or set
/// aside for an operator, and never lost. Repeat it under the same --command-id as often as you like: it changes the
/// balance once. With --wait the answer is what became of it; exit code 1 if it was not applied.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty publish enroll ann --email ann@example.com --name Ann
  loyalty publish update ann --email ann@example.org --clear-name
  loyalty publish earn ann 1200 --reason 'order 991' --wait 5s
  loyalty publish spend ann 500 --wait 5s --json
  loyalty publish hold ann 300 2026-12-01T18:00:00Z
  loyalty publish capture ann 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11 --points 250
  loyalty publish reverse ann 019a8f30-21b4-7d05-8c7f-5a0e3b9c4d22 --reason 'return 17'
  loyalty publish adjust ann -50 --reason 'booked twice' --wait 5s
  loyalty publish redeem ann 1
  loyalty publish exit ann
  loyalty publish terminate ann --reason 'sold her points' --wait 5s")]
pub(crate) struct Publish {
    #[command(subcommand)]
    typed: Typed,
}

/// What every command may carry.
#[derive(Debug, clap::Args)]
struct Details {
    /// The command's id, under which it can be repeated; by default a new one
    #[arg(long, value_name = "UUID")]
    command_id: Option<CommandId>,
    /// The reason, for people: 'order 991'
    #[arg(long)]
    reason: Option<Text>,
    /// The source, for machines: order:991
    #[arg(long)]
    source_ref: Option<Text>,
    /// When it happened, as an RFC 3339 time; by default now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Wait this long for the outcome: 5s, 500ms, 1m
    #[arg(long, value_name = "TIME", value_parser = wait_time)]
    wait: Option<Duration>,
}

/// The longest wait: nobody waits for one command longer.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(1);

fn wait_time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().filter(|time| *time <= WAIT_MAX);
    time.and_then(|time| Duration::try_from(time).ok()).ok_or_else(|| "must be a time such as 5s, 500ms or 1m".into())
}

impl Publish {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let (mut command, at, wait) = self.typed.command();
        let Some(wait) = wait else {
            publish(&command, context).await?;
            let published = Published { outcome: "published", ..Published::of(&command) };
            context
                .output
                .answer(&published, |it| format!("published {} {}: {}", it.r#type, it.member_id, it.command_id))?;
            return Ok(ExitStatus::Success);
        };
        let pool = context.pool(PlannerProfile::Keys, 1).await?;
        // Before publishing: a database that is away would leave us without the answer that was asked for.
        let since = member_statuses::clock(&pool).await?;
        if at.is_none() {
            // This machine's clock may be ahead, and the command is not.
            command.occurred_at = to_microseconds(since);
        }
        let deadline = Instant::now() + wait;
        publish(&command, context).await?;
        let state = tokio::time::timeout_at(deadline, wait_for_state(pool, &command, since)).await;
        tell(&command, state.ok().transpose()?, context)
    }
}

async fn publish(command: &Command, context: &Context) -> anyhow::Result<()> {
    command.check().map_err(|error| Usage(error.to_string()))?;
    let producer = Producer::connect(context.settings.amqp()?, "publish", Limits::default()).await?;
    let what = || format!("command {} is not known to be published; repeat it under this id", command.command_id);
    producer.publish(command).await.with_context(what)?;
    Ok(())
}

impl Typed {
    fn command(self) -> (Command, Option<Timestamp>, Option<Duration>) {
        let Self { member_id, action, details } = self;
        let new = Command::new(member_id, action);
        let command = Command {
            command_id: details.command_id.unwrap_or(new.command_id),
            occurred_at: details.at.map_or(new.occurred_at, to_microseconds),
            reason: details.reason,
            source_ref: details.source_ref,
            ..new
        };
        (command, details.at, details.wait)
    }
}

/// The answer while there is no receipt.
#[derive(Debug, Serialize)]
struct Published<'a> {
    member_id: &'a MemberId,
    command_id: CommandId,
    r#type: CommandType,
    /// Beside those of a receipt: published, on_its_way, parked, dead, conflict.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl<'a> Published<'a> {
    const fn of(command: &'a Command) -> Self {
        let Command { member_id, command_id, .. } = command;
        let r#type = command.command_type();
        Self { member_id, command_id: *command_id, r#type, outcome: "on_its_way", problem: None }
    }
}

/// Waits until there is an answer.
async fn wait_for_state(pool: Pool, command: &Command, since: Timestamp) -> anyhow::Result<CommandState> {
    let mut poller = ReceiptPoller::new(pool);
    poller.add((command.member_id.clone(), command.command_id), ());
    // The dead letter of an earlier sending says nothing about this one.
    let is_new = |(): &(), state: &CommandState| !matches!(state, CommandState::DeadLetter { at, .. } if *at < since);
    loop {
        if let Some(((), state)) = poller.next(is_new).await?.pop() {
            return Ok(state);
        }
    }
}

/// Prints what became of a command. Only applied is a yes.
fn tell(command: &Command, state: Option<CommandState>, context: &Context) -> anyhow::Result<ExitStatus> {
    if let Some(fields) = state.as_ref().and_then(|state| differing(command, state)) {
        let problem = format!("the id was used before with other {}; that stands", fields.join(" and "));
        return tell_problem(command, "conflict", problem, context);
    }
    let (outcome, problem) = match state {
        Some(CommandState::Decided { receipt, .. }) => return tell_receipt(&receipt, context),
        Some(CommandState::Parked { .. }) => ("parked", "it waits for the member's enrolment".to_owned()),
        Some(CommandState::DeadLetter { reason, error, .. }) => {
            ("dead", format!("set aside for an operator, {reason}: {error}"))
        }
        None => ("on_its_way", "it is safe in its queue and not yet applied; does a worker run?".to_owned()),
    };
    tell_problem(command, outcome, problem, context)
}

/// The fields in which the command that has the outcome is not this one, if there are any.
fn differing(command: &Command, state: &CommandState) -> Option<Vec<&'static str>> {
    let content = match state {
        CommandState::Decided { content, .. } => Some(content),
        CommandState::Parked { content } => content.as_ref(),
        CommandState::DeadLetter { .. } => None,
    };
    let fields = content?.differing_fields(&CommandContent::of(command));
    (!fields.is_empty()).then_some(fields)
}

fn tell_problem(
    command: &Command,
    outcome: &'static str,
    problem: String,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let answer = Published { outcome, problem: Some(problem), ..Published::of(command) };
    context.output.answer(&answer, |it| {
        let problem = it.problem.as_deref().unwrap_or_default();
        format!("{} {} {}: {problem}\n{}", it.outcome.replace('_', " "), it.r#type, it.member_id, it.command_id)
    })?;
    Ok(ExitStatus::Failure)
}

fn tell_receipt(receipt: &Receipt, context: &Context) -> anyhow::Result<ExitStatus> {
    context.output.answer(receipt, receipt::sentence)?;
    Ok((receipt.outcome == Outcome::Applied).into())
}
