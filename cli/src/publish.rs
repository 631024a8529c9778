//! `loyalty publish`: one command, confirmed by the broker, and with `--wait` what became of it.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use loyalty_common::command::to_microseconds;
use loyalty_common::{
    Action, Change, Command, CommandId, CommandType, ContactUpdate, EmailAddress, MemberId, Outcome, Points, Receipt,
    Text,
};
use loyalty_producer::{Limits, Producer};
use loyalty_store::pool::Use;
use loyalty_store::read::Fate;
use loyalty_store::receipt_poller::ReceiptPoller;
use loyalty_store::rows::Content;
use loyalty_store::{Pool, standings};
use serde::Serialize;
use tokio::time::Instant;

use crate::Context;
use crate::exit::{Answer, Usage};
use crate::receipt;

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
  loyalty publish exit ann
  loyalty publish terminate ann --reason 'sold her points' --wait 5s")]
pub(crate) struct Publish {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make somebody a member
    Enroll {
        member: MemberId,
        /// Where rewards are mailed; without it they are granted and not mailed
        #[arg(long)]
        email: Option<EmailAddress>,
        /// How the mails address the member
        #[arg(long)]
        name: Option<Text>,
        #[command(flatten)]
        details: Details,
    },
    /// Change a member's address or name
    ///
    /// What is not named stays as it is. Mails that are not sent yet go to the new address; without one they go to
    /// nobody.
    #[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
    Update {
        member: MemberId,
        /// Where rewards are mailed from now on
        #[arg(long, group = "change")]
        email: Option<EmailAddress>,
        /// How the mails address the member from now on
        #[arg(long, group = "change")]
        name: Option<Text>,
        /// Erase the address; rewards are granted and not mailed
        #[arg(long, group = "change", conflicts_with = "email")]
        clear_email: bool,
        /// Erase the name
        #[arg(long, group = "change", conflicts_with = "name")]
        clear_name: bool,
        #[command(flatten)]
        details: Details,
    },
    /// Add points
    Earn {
        member: MemberId,
        points: Points,
        #[command(flatten)]
        details: Details,
    },
    /// Take points away, if there are enough
    Spend {
        member: MemberId,
        points: Points,
        #[command(flatten)]
        details: Details,
    },
    /// End a membership; what is left of the balance is forfeited
    Exit {
        member: MemberId,
        #[command(flatten)]
        details: Details,
    },
    /// End a membership for good, by an operator's hand
    ///
    /// What is left of the balance is forfeited, address and name are forgotten, and every later command about the
    /// member is refused, an enrolment too. No mail is sent, and mails that are not sent yet go to nobody.
    #[command(mut_arg("reason", |reason| reason.required(true)))]
    Terminate {
        member: MemberId,
        #[command(flatten)]
        details: Details,
    },
}

/// What every command may carry.
#[derive(Debug, clap::Args)]
struct Details {
    /// The id under which it may be repeated; by default a fresh one
    #[arg(long, value_name = "UUID")]
    command_id: Option<CommandId>,
    /// Why, for people: 'order 991'
    #[arg(long)]
    reason: Option<Text>,
    /// What it came from, for machines: order:991
    #[arg(long)]
    source_ref: Option<Text>,
    /// When it happened, as an RFC 3339 time; by default now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Wait this long for what becomes of it: 5s, 500ms, 1m
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
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Answer> {
        let (mut command, at, wait) = self.what.command()?;
        let Some(wait) = wait else {
            publish(&command, context).await?;
            let published = Published { outcome: "published", ..Published::of(&command) };
            context
                .output
                .answer(&published, |it| format!("published {} {}: {}", it.r#type, it.member_id, it.command_id))?;
            return Ok(Answer::Yes);
        };
        let pool = context.pool(Use::Keys, 1).await?;
        // Before publishing: a database that is away would leave us without the answer that was asked for.
        let since = standings::clock(&pool).await?;
        if at.is_none() {
            // This machine's clock may be ahead, and the command is not.
            command.occurred_at = to_microseconds(since);
        }
        let deadline = Instant::now() + wait;
        publish(&command, context).await?;
        let fate = tokio::time::timeout_at(deadline, fate(pool, &command, since)).await;
        tell(&command, fate.ok().transpose()?, context)
    }
}

async fn publish(command: &Command, context: &Context) -> anyhow::Result<()> {
    let producer = Producer::connect(context.settings.amqp()?, "publish", Limits::default()).await?;
    let what = || format!("command {} is not known to be published; repeat it under this id", command.command_id);
    producer.publish(command).await.with_context(what)?;
    Ok(())
}

impl What {
    fn command(self) -> Result<(Command, Option<Timestamp>, Option<Duration>), Usage> {
        let (member, action, details) = match self {
            Self::Enroll { member, email, name, details } => (member, Action::Enroll { email, name }, details),
            Self::Update { member, email, name, clear_email, clear_name, details } => {
                let update = ContactUpdate::try_new(change(email, clear_email), change(name, clear_name));
                // clap asks for one of the flags.
                let update = update.map_err(|error| Usage(format!("`email` {error}")))?;
                (member, Action::Update(update), details)
            }
            Self::Earn { member, points, details } => (member, Action::Earn { points }, details),
            Self::Spend { member, points, details } => (member, Action::Spend { points }, details),
            Self::Exit { member, details } => (member, Action::Exit, details),
            Self::Terminate { member, details } => (member, Action::Terminate, details),
        };
        let new = Command::new(member, action);
        let command = Command {
            command_id: details.command_id.unwrap_or(new.command_id),
            occurred_at: details.at.map_or(new.occurred_at, to_microseconds),
            reason: details.reason,
            source_ref: details.source_ref,
            ..new
        };
        Ok((command, details.at, details.wait))
    }
}

fn change<T>(set: Option<T>, clear: bool) -> Change<T> {
    match set {
        Some(value) => Change::Set(value),
        None if clear => Change::Clear,
        None => Change::Keep,
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
async fn fate(pool: Pool, command: &Command, since: Timestamp) -> anyhow::Result<Fate> {
    let mut poller = ReceiptPoller::new(pool);
    poller.add((command.member_id.clone(), command.command_id), ());
    // The letter of an earlier sending says nothing about this one.
    let is_new = |(): &(), fate: &Fate| !matches!(fate, Fate::DeadLetter { at, .. } if *at < since);
    loop {
        if let Some(((), fate)) = poller.next(is_new).await?.pop() {
            return Ok(fate);
        }
    }
}

/// Prints what became of a command. Only applied is a yes.
fn tell(command: &Command, fate: Option<Fate>, context: &Context) -> anyhow::Result<Answer> {
    if let Some(fields) = fate.as_ref().and_then(|fate| differing(command, fate)) {
        let problem = format!("the id was used before with other {}; that stands", fields.join(" and "));
        return tell_problem(command, "conflict", problem, context);
    }
    let (outcome, problem) = match fate {
        Some(Fate::Decided { receipt, .. }) => return tell_receipt(&receipt, context),
        Some(Fate::Parked { .. }) => ("parked", "it waits for the member's enrolment".to_owned()),
        Some(Fate::DeadLetter { reason, error, .. }) => {
            ("dead", format!("set aside for an operator, {reason}: {error}"))
        }
        None => ("on_its_way", "it is safe in its queue and not yet applied; does a worker run?".to_owned()),
    };
    tell_problem(command, outcome, problem, context)
}

/// The fields in which the command that has the fate is not this one, if there are any.
fn differing(command: &Command, fate: &Fate) -> Option<Vec<&'static str>> {
    let content = match fate {
        Fate::Decided { content, .. } => Some(content),
        Fate::Parked { content } => content.as_ref(),
        Fate::DeadLetter { .. } => None,
    };
    let fields = content?.differing_fields(&Content::of(command));
    (!fields.is_empty()).then_some(fields)
}

fn tell_problem(
    command: &Command,
    outcome: &'static str,
    problem: String,
    context: &Context,
) -> anyhow::Result<Answer> {
    let answer = Published { outcome, problem: Some(problem), ..Published::of(command) };
    context.output.answer(&answer, |it| {
        let problem = it.problem.as_deref().unwrap_or_default();
        format!("{} {} {}: {problem}\n{}", it.outcome.replace('_', " "), it.r#type, it.member_id, it.command_id)
    })?;
    Ok(Answer::No)
}

fn tell_receipt(receipt: &Receipt, context: &Context) -> anyhow::Result<Answer> {
    context.output.answer(receipt, receipt::sentence)?;
    Ok((receipt.outcome == Outcome::Applied).into())
}
