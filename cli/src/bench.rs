//! `loyalty bench`: reads what to measure, and prints what was found.

use std::path::PathBuf;

use anyhow::Result;
use loyalty_bench::{Bench as Benchmark, Load};

use crate::Context;
use crate::exit::ExitStatus;

/// Measure how near the whole comes to its broker and its database
///
/// Starts private servers of its own, with commits on disk, and removes them afterwards. Ratios are the result; the
/// figures beside them only tell how fast the machine is. Exit code 1 if the tables are not clean afterwards.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loyalty bench --commands 50000 --json\n  loyalty bench --events\n  loyalty bench --expiry\n  loyalty bench --http"
)]
pub(crate) struct Bench {
    /// Commands of each measurement; the backlog has three times as many
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000))]
    commands: u32,
    /// Members that the commands are spread over
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    members: u32,
    /// Also measure with events switched on and a listener
    #[arg(long)]
    events: bool,
    /// Also measure with points that expire, beside the same commands without
    #[arg(long)]
    expiry: bool,
    /// Measure the bridge instead: its commands a second, one by one and in batches, beside the producer library's
    #[arg(long)]
    http: bool,
    /// Where the private servers keep their data while it runs
    #[arg(long, default_value = ".loyalty/bench")]
    scratch: PathBuf,
}

impl Bench {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitStatus> {
        let Self { commands, members, events, expiry, http, scratch } = self;
        let bench = Benchmark { load: Load { commands, members }, events, expiry, scratch };
        if http {
            context.output.answer(&bench.http().await?, ToString::to_string)?;
            return Ok(ExitStatus::Success);
        }
        let report = bench.whole().await?;
        context.output.answer(&report, ToString::to_string)?;
        Ok(report.verified.into())
    }
}
