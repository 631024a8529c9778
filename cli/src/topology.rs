//! `loyalty topology`: makes the exchanges and queues, or says how what stands differs from what is wanted.

use anyhow::Context as _;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use loyalty_common::amqp;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::{Exchange, Queue, Rung, Topology, field_table};
use serde::Serialize;

use crate::Context;
use crate::exit::Answer;
use crate::output::{Column, table};

/// Make the exchanges and queues, or check them
///
/// Repeating it changes nothing. A queue that stands with other arguments is never changed: the broker refuses, and
/// somebody has to decide what becomes of its messages. The rungs of the mails' retry ladder come from loyalty.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty topology && loyalty topology --check")]
pub(crate) struct CheckOrDeclare {
    /// Change nothing; say what is missing or different, exit 1 if anything is. Bindings cannot be seen this way
    #[arg(long)]
    check: bool,
}

/// An exchange or queue and how it compares with what is wanted.
#[derive(Debug, Serialize)]
struct Standing {
    kind: &'static str,
    name: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Missing,
    Different,
}

impl CheckOrDeclare {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Answer> {
        let config = context.settings.config()?;
        let (amqp, ladder) = (context.settings.amqp()?, config.mail.ladder.rungs());
        if self.check {
            let connection = amqp::connect(&amqp, "topology").await?;
            let answer = check(&connection, &Topology::new(ladder), context).await;
            amqp::close(&connection).await;
            return answer;
        }
        let Topology { exchanges, queues } = declare(&amqp, ladder).await?;
        let made = serde_json::json!({ "exchanges": exchanges.len(), "queues": queues.len() });
        context
            .output
            .answer(&made, |made| format!("{} exchanges and {} queues stand", made["exchanges"], made["queues"]))?;
        Ok(Answer::Yes)
    }
}

/// Makes whatever is missing.
pub(crate) async fn declare(amqp: &SecretUrl, ladder: &[Rung]) -> anyhow::Result<Topology> {
    let topology = Topology::new(ladder);
    let connection = amqp::connect(amqp, "topology").await?;
    let channel = connection.create_channel().await.context("could not open a channel")?;
    let declared = topology.declare(&channel).await;
    amqp::close(&connection).await;
    declared?;
    Ok(topology)
}

async fn check(connection: &Connection, topology: &Topology, context: &Context) -> anyhow::Result<Answer> {
    let mut standings = Vec::new();
    for exchange in &topology.exchanges {
        standings.push(check_exchange(connection, exchange).await?);
    }
    for queue in &topology.queues {
        standings.push(check_queue(connection, queue).await?);
    }
    let right = standings.iter().all(|standing| standing.state == State::Ok);
    context.output.answer(&standings, |standings| text(standings))?;
    Ok(right.into())
}

async fn check_exchange(connection: &Connection, exchange: &Exchange) -> anyhow::Result<Standing> {
    let declare = async |passive| {
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
        let arguments = if passive { FieldTable::default() } else { field_table(&exchange.arguments) };
        channel.exchange_declare(exchange.name.into(), exchange.kind.clone(), options, arguments).await?;
        channel.close(REPLY_SUCCESS, "done".into()).await
    };
    compare("exchange", exchange.name, declare).await
}

async fn check_queue(connection: &Connection, queue: &Queue) -> anyhow::Result<Standing> {
    let declare = async |passive| {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { passive, ..QueueDeclareOptions::durable() };
        let arguments = if passive { FieldTable::default() } else { field_table(&queue.arguments) };
        channel.queue_declare(queue.name.as_str().into(), options, arguments).await?;
        channel.close(REPLY_SUCCESS, "done".into()).await
    };
    compare("queue", &queue.name, declare).await
}

/// AMQP's reply code for a close that was meant.
const REPLY_SUCCESS: u16 = 200;

/// Asks passively first, which makes nothing; declares only what stands already, which changes nothing either and
/// makes the broker compare. Each refusal closes its channel, so each question has its own.
async fn compare(
    kind: &'static str,
    name: &str,
    declare: impl AsyncFn(bool) -> Result<(), lapin::Error>,
) -> anyhow::Result<Standing> {
    let standing = |state, problem| Standing { kind, name: name.to_owned(), state, problem };
    for (passive, failed) in [(true, State::Missing), (false, State::Different)] {
        match declare(passive).await {
            Ok(()) => {}
            Err(error) => match error.kind() {
                ErrorKind::ProtocolError(refusal) => return Ok(standing(failed, difference(&refusal.to_string()))),
                _ => return Err(error).with_context(|| format!("could not ask for {name}")),
            },
        }
    }
    Ok(standing(State::Ok, None))
}

/// What the broker says is different: what follows the names of its error. Nothing, where nothing stands.
fn difference(refusal: &str) -> Option<String> {
    let (_, detail) = refusal.split_once(" - ")?;
    detail.starts_with("inequivalent").then(|| detail.to_owned())
}

fn text(standings: &[Standing]) -> String {
    let wrong: Vec<&Standing> = standings.iter().filter(|standing| standing.state != State::Ok).collect();
    if wrong.is_empty() {
        return format!("All {} exchanges and queues stand as wanted", standings.len());
    }
    let state = |standing: &Standing| match standing.state {
        State::Ok => "ok",
        State::Missing => "missing",
        State::Different => "different",
    };
    let rows = wrong.iter().map(|standing| {
        let problem = standing.problem.clone().unwrap_or_default();
        [standing.kind.to_owned(), standing.name.clone(), state(standing).to_owned(), problem]
    });
    table([Column::Text("kind"), Column::Text("name"), Column::Text("state"), Column::Text("problem")], rows)
}
