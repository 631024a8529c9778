//! What the database alone can do on this machine: the worker's own batches, without a broker.

use std::time::Instant;

use anyhow::Result;
use loyalty_common::{Action, Command, Enroll};
use loyalty_ledger::{BatchRequest, Events, Programme, Submitted, fold};
use loyalty_store::Pool;
use loyalty_store::batch::Batch;
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_worker::Limits;

use super::{Load, rate, traffic};

/// Commands a second from the first batch to the last commit.
pub(crate) async fn run(database: &DatabaseUrl, load: Load) -> Result<f64> {
    let pool = Pool::new(database, PlannerProfile::Keys, 1)?;
    let commands: Vec<Command> = traffic::earnings(load).collect();
    let began = Instant::now();
    apply(&pool, &commands).await?;
    Ok(rate(load.commands, began.elapsed()))
}

/// Makes the tables and enrols the members of the benchmark.
pub(crate) async fn enroll(database: &DatabaseUrl, load: Load) -> Result<()> {
    let pool = Pool::new(database, PlannerProfile::Keys, 1)?;
    loyalty_store::migrate::migrate(&pool).await?;
    let enrolled_at = traffic::enrolled_at();
    let enroll = Action::Enroll(Enroll { email: None, name: None });
    let enrolment =
        |number| Command { occurred_at: enrolled_at, ..Command::new(traffic::member(number), enroll.clone()) };
    let commands: Vec<Command> = (0..load.members).map(enrolment).collect();
    apply(&pool, &commands).await
}

async fn apply(pool: &Pool, commands: &[Command]) -> Result<()> {
    let programme = Programme::default();
    for part in commands.chunks(Limits::default().batch_commands) {
        let (batch, view) = Batch::open_free(pool, &BatchRequest::of(part)).await?;
        // Nothing waits for anybody here, so no body is kept.
        let submitted: Vec<_> = part.iter().map(|command| Submitted { command, body: &[], trace: None }).collect();
        let (changes, _) = fold(view, &submitted, &programme, Events::Off);
        batch.commit(&changes, &[]).await?;
    }
    Ok(())
}
