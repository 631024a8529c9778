//! `loyalty sweep`: what is due of members happens now, and not when a worker next looks.

use std::sync::Arc;

use jiff::Timestamp;
use loyalty_store::pool::PlannerProfile;
use loyalty_worker::metrics::PointsMoved;
use loyalty_worker::registered_programme::RegisteredProgramme;
use serde::Serialize;

use crate::Context;
use crate::exit::ExitStatus;
use crate::output::grouped;
use crate::shutdown_signal::stop_on_signal;
use crate::time_arg::time_arg;

/// Let points expire and holds run out that are due
///
/// Workers do it every hour, for members whom no command touches, `late_hours` (48) after something was due. This does
/// it at once, so that lists and the balance sheet of `verify` know it: after an import of history, or to close the
/// books of a month. Run it with the loyalty.toml and the database's role of the workers; it may run beside them, and
/// can be stopped and repeated.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty sweep
  loyalty sweep --until 2027-01-01 && loyalty verify --json | jq .balance_sheet")]
pub(crate) struct Sweep {
    /// What was due by then, which is a day (its midnight in UTC), a time, or how long ago; by default `late_hours`
    /// before now. A late command dated before it finds that it has happened
    #[arg(long, value_name = "TIME", value_parser = time_arg)]
    until: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Swept {
    until: Timestamp,
    rows: usize,
}

impl Sweep {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let stop = stop_on_signal()?;
        let config = context.settings.config()?;
        let pool = context.pool(PlannerProfile::Keys, 1).await?;
        let sweep = loyalty_worker::sweep::Sweep {
            late: config.limits().sweep_late,
            programme: Arc::new(RegisteredProgramme::new(config.programme)),
            events: config.events,
            // The workers' relay finds by itself what is left for it.
            event_relay: Arc::default(),
            points: PointsMoved::default(),
        };
        let until = match self.until {
            Some(until) => until,
            None => sweep.due_until(&pool).await?,
        };
        let rows = sweep.run(&pool, until, &stop).await?;
        context.output.answer(&Swept { until, rows }, |swept| {
            format!(
                "{} rows of what was due until {:.0}",
                grouped(i64::try_from(swept.rows).unwrap_or(i64::MAX)),
                until
            )
        })?;
        Ok((!stop.is_cancelled()).into())
    }
}
