//! The real thing with points that expire, beside the same commands without: what lots cost.

use std::path::Path;

use anyhow::{Context, Result};
use loyalty_local::Servers;
use serde::Serialize;

use super::whole::Whole;
use super::{BACKLOG_ROUNDS, Load, mean_rate, prepare_database, prepare_vhost, step, traffic};

/// What was measured. Rates are commands a second.
#[derive(Debug, Serialize)]
pub(crate) struct WithExpiry {
    pub(crate) end_to_end: f64,
    pub(crate) end_to_end_without: f64,
    pub(crate) drain: f64,
    pub(crate) drain_without: f64,
    pub(crate) end_to_end_of_without: f64,
    pub(crate) drain_of_without: f64,
    pub(crate) verified: bool,
}

/// One programme, with servers of its own and what it came to.
struct Side {
    whole: Whole,
    end_to_end: Vec<f64>,
    drain: Vec<f64>,
}

/// Both programmes in turn, each with the same visits of members, on one day after the other.
pub(crate) async fn run(servers: &Servers, scratch: &Path, load: Load, backlog: Load) -> Result<WithExpiry> {
    let config = scratch.join("expiry.toml");
    std::fs::write(&config, "[expiry]\nafter = \"365d\"\n").context("could not write settings with expiry")?;
    let without = Side::new(servers, scratch, "without_expiry", load, |whole| whole).await?;
    let with = Side::new(servers, scratch, "with_expiry", load, |whole| whole.with_config(config)).await?;
    let mut sides = [without, with];
    let mut from = 0;
    for _ in 0..BACKLOG_ROUNDS {
        step("with expiry and without: end to end, then a backlog");
        for side in &mut sides {
            let published = side.whole.end_to_end_of(load, traffic::visits(load, from)).await?;
            side.end_to_end.push(published.per_second);
            let drained = side.whole.drain_of(backlog, traffic::visits(backlog, from + load.commands)).await?;
            side.drain.push(drained.per_second);
        }
        from += load.commands + backlog.commands;
    }
    let [without, with] = sides;
    let [end_to_end_without, drain_without] = without.rates();
    let [end_to_end, drain] = with.rates();
    Ok(WithExpiry {
        end_to_end,
        end_to_end_without,
        drain,
        drain_without,
        end_to_end_of_without: end_to_end / end_to_end_without,
        drain_of_without: drain / drain_without,
        verified: with.whole.verify().await? && without.whole.verify().await?,
    })
}

impl Side {
    async fn new(
        servers: &Servers,
        scratch: &Path,
        name: &str,
        load: Load,
        settings: impl FnOnce(Whole) -> Whole,
    ) -> Result<Self> {
        let (amqp, database) = (prepare_vhost(servers, name).await?, prepare_database(servers, name, load).await?);
        let whole = settings(Whole::new(amqp, database, scratch));
        Ok(Self { whole, end_to_end: Vec::new(), drain: Vec::new() })
    }

    fn rates(&self) -> [f64; 2] {
        [mean_rate(&self.end_to_end), mean_rate(&self.drain)]
    }
}
