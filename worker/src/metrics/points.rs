//! The books: points that this worker moved, by where they came from and went, and what members have of them in all.
//!
//! What was moved is told by the effects of committed rows and costs a few additions. What members have is a sum over
//! all of them: a scan of the members, so it is read the more rarely the longer it takes.

use std::fmt;
use std::time::Duration;

use loyalty_ledger::{Entry, Sheet};
use loyalty_store::books::Books;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Figures, Gauge};

/// Where points came from or went: a line of the balance sheet, or what reversals took back of one, since a counter
/// never falls. What a row says of it is not above 0, if that is nothing.
const FLOWS: [Flow; 8] = [
    ("issued", |sheet| sheet.issued),
    ("reversed", |sheet| sheet.reversed),
    ("spent", |sheet| sheet.spent),
    ("spent_back", |sheet| -sheet.spent),
    ("expired", |sheet| sheet.expired),
    ("expired_back", |sheet| -sheet.expired),
    ("forfeited", |sheet| sheet.forfeited),
    ("written_off", |sheet| sheet.written_off),
];

/// The label, and what a row says of it.
type Flow = (&'static str, fn(&Sheet) -> i64);

/// Counts the points of committed rows. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct PointsMoved(Family<FlowLabel, Counter>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FlowLabel {
    flow: &'static str,
}

impl PointsMoved {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let moved = Self::default();
        for (flow, _) in FLOWS {
            moved.add(flow, 0);
        }
        let help = "Points that rows of this worker moved, by where they came from or went";
        registry.register("loyalty_worker_points", help, moved.0.clone());
        moved
    }

    /// Rows were committed.
    pub(crate) fn committed(&self, entries: &[Entry]) {
        for (flow, of) in FLOWS {
            let points = entries.iter().map(|entry| of(&entry.effects.sheet).max(0).unsigned_abs());
            let points = points.fold(0, u64::saturating_add);
            if points > 0 {
                self.add(flow, points);
            }
        }
    }

    fn add(&self, flow: &'static str, points: u64) {
        self.0.get_or_create(&FlowLabel { flow }).inc_by(points);
    }
}

const OUTSTANDING: Gauge = Gauge::of(
    "loyalty_points_outstanding",
    "Points that members have, to spend and held: what the shop owes; as stored, and read rarely",
);
const OWED: Gauge = Gauge::of("loyalty_points_owed", "Points that members owe; as stored, and read rarely");

impl Figures for Books {
    const SHOWN: Gauge =
        Gauge::of("loyalty_points_read", "Whether the sums of points could be read; if not, their gauges are absent");

    /// As long as the reader may wait after a reading that took as long as one may, and a little.
    const FRESH: Duration = Duration::from_secs(2 * 60 * 60);

    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        OUTSTANDING.write(encoder, self.outstanding)?;
        OWED.write(encoder, self.owed)
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::CommandType;
    use loyalty_ledger::{CommandContent, Effects};
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn row(sheet: Sheet) -> Entry {
        Entry {
            member_id: "ann".parse().expect("a member id"),
            seq: 1,
            command_id: loyalty_common::CommandId::fresh(),
            epoch: 1,
            programme: 1,
            content: CommandContent::none(CommandType::Earn.into()),
            code: None,
            effects: Effects { sheet, ..Effects::NONE },
            balance_after: 0,
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
            effective_at: jiff::Timestamp::UNIX_EPOCH,
            reversed_after: None,
        }
    }

    #[test]
    fn what_comes_back_is_counted_beside_what_went_and_no_counter_falls() {
        let mut registry = Registry::default();
        let moved = PointsMoved::new(&mut registry);
        moved.committed(&[
            row(Sheet::of_plain(500)),
            row(Sheet::of_plain(-120)),
            row(Sheet { spent: -20, ..Sheet::NONE }),
            row(Sheet { reversed: 100, expired: -30, ..Sheet::NONE }),
            row(Sheet { expired: 70, ..Sheet::NONE }),
            row(Sheet { forfeited: 9, written_off: 4, ..Sheet::NONE }),
            row(Sheet::of_plain(i64::MAX)),
            row(Sheet::of_plain(i64::MAX)),
            row(Sheet::of_plain(i64::MAX)),
        ]);
        moved.committed(&[]);
        let mut text = String::new();
        encode(&mut text, &registry).expect("a text takes anything");
        let counts = [
            ("issued", u64::MAX),
            ("reversed", 100),
            ("spent", 120),
            ("spent_back", 20),
            ("expired", 70),
            ("expired_back", 30),
            ("forfeited", 9),
            ("written_off", 4),
        ];
        for (flow, count) in counts {
            let line = format!("loyalty_worker_points_total{{flow=\"{flow}\"}} {count}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
