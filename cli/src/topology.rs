//! `loyalty topology`: makes the exchanges and queues, or says how what stands differs from what is wanted.
//!
//! Read in this order: `check` gathers the answer; `compare` and `policies` find the differences in what `management`
//! and `broker` show; `known_bugs` knows versions; `retired_retry_queues` removes what the schedule no longer names.
//! Nothing that stands is ever changed.

mod broker;
mod check;
mod compare;
mod difference;
mod known_bugs;
mod management;
mod management_model;
mod policies;
mod retired_retry_queues;

use std::time::Duration;

use anyhow::Context as _;
use lapin::Connection;
use loyalty_common::amqp;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::Topology;
use serde::Serialize;

pub(crate) use management::ManagementError;

use crate::Context;
use crate::exit::ExitStatus;
use management::Management;

/// Declare the exchanges and queues, or check them
///
/// Repeating it changes nothing. A queue that exists with other arguments is never changed: the broker refuses, and
/// you decide what becomes of its messages. The delays of the emails' retry queues come from loyalty.toml. A retry
/// queue of a delay that it no longer names is unbound, its emails leave it when their time is up, and it is removed
/// once it is empty; that takes the management API and a loyalty.toml. Restart the workers with the new delays. The
/// exchange for events is declared if loyalty.toml switches them on, and never removed.
///
/// --check changes nothing. With the management API (--management-url) it compares every argument, binding and policy
/// and the state of each queue, and warns of versions with known bugs; without, what AMQP shows of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty topology && loyalty topology --check
  LOYALTY_MANAGEMENT_URL=http://user:password@rabbitmq:15672 loyalty topology --check")]
pub(crate) struct CheckOrDeclare {
    /// Change nothing; report what is missing or different, and what that breaks. Exit 1 if anything is
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Serialize)]
struct DeclareReport {
    exchanges: usize,
    queues: usize,
    /// Retired retry queues and what became of them.
    retired: Vec<retired_retry_queues::Retirement>,
    /// What nobody looked for.
    not_seen: Vec<&'static str>,
}

/// Why no queue was removed although it could be seen.
const SCHEDULE_NOT_GIVEN: &str =
    "retry queues that the schedule no longer names: there is no loyalty.toml here that gives the schedule (--config)";

impl CheckOrDeclare {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let config = context.settings.config()?;
        let amqp = context.settings.amqp()?;
        let management = context.settings.management()?;
        let management = management.map(|url| Management::new(&url, &amqp)).transpose()?;
        let wanted = config.topology();
        let connection = amqp::connect(&amqp, "topology").await?;
        let work = async {
            if self.check {
                check(&connection, management.as_ref(), &wanted, context).await
            } else {
                make(&connection, management.as_ref(), &wanted, context).await
            }
        };
        let result = amqp::while_connected(&connection, work).await;
        amqp::close(&connection).await;
        result.map_err(BrokerError::Lost)?
    }
}

async fn check(
    connection: &Connection,
    management: Option<&Management>,
    wanted: &Topology,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let checked = check::check(connection, management, wanted).await?;
    context.output.answer(&checked, |checked| checked.text(wanted))?;
    Ok(checked.differences.is_empty().into())
}

async fn make(
    connection: &Connection,
    management: Option<&Management>,
    wanted: &Topology,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    declare_on(connection, wanted).await?;
    let (retired, not_seen) = match management {
        // Another directory than that of the workers, and all their retry queues would seem retired.
        Some(_) if !context.settings.has_config() => (vec![], vec![SCHEDULE_NOT_GIVEN]),
        Some(management) => (in_time(retired_retry_queues::retire(connection, management, wanted)).await?, vec![]),
        None => (vec![], vec!["retry queues that the schedule no longer names: give --management-url"]),
    };
    let made = DeclareReport { exchanges: wanted.exchanges.len(), queues: wanted.queues.len(), retired, not_seen };
    context.output.answer(&made, DeclareReport::text)?;
    Ok(ExitStatus::Success)
}

/// Makes whatever is missing.
pub(crate) async fn declare(amqp: &SecretUrl, wanted: &Topology) -> anyhow::Result<()> {
    let connection = amqp::connect(amqp, "topology").await?;
    let declared = amqp::while_connected(&connection, declare_on(&connection, wanted)).await;
    amqp::close(&connection).await;
    declared.map_err(BrokerError::Lost)?
}

/// How long the broker may take over all that one command declares or asks for by AMQP: thirty queues take a cluster
/// seconds, and a queue without a majority of its nodes never answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Why the broker's answer did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    /// It is gone, or has been silent for too long.
    #[error("lost the connection to RabbitMQ while it was asked; the same command may succeed later")]
    Lost(#[source] lapin::Error),
    /// It lives, and does not answer this.
    #[error("RabbitMQ did not answer within {} seconds; is a queue without a majority of its nodes?", ANSWER_LIMIT.as_secs())]
    Silent,
}

/// What the broker is asked, for as long as it may take.
async fn in_time<T, E: Into<anyhow::Error>>(asked: impl Future<Output = Result<T, E>>) -> anyhow::Result<T> {
    tokio::time::timeout(ANSWER_LIMIT, asked).await.map_err(|_| BrokerError::Silent)?.map_err(Into::into)
}

async fn declare_on(connection: &Connection, wanted: &Topology) -> anyhow::Result<()> {
    in_time(async {
        let channel = connection.create_channel().await.context("could not open a channel")?;
        anyhow::Ok(wanted.declare(&channel).await?)
    })
    .await
}

impl DeclareReport {
    fn text(&self) -> String {
        let stand = format!("{} exchanges and {} queues stand", self.exchanges, self.queues);
        let retired = self.retired.iter().map(ToString::to_string);
        let not_seen = self.not_seen.iter().map(|what| format!("Not seen: {what}"));
        std::iter::once(stand).chain(retired).chain(not_seen).collect::<Vec<_>>().join("\n")
    }
}
