//! What the mailer counts.

use loyalty_store::emails::EmailKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::outcome::Outcome;

/// The mailer's counters. Clones share them.
#[derive(Clone, Debug)]
pub struct MailMetrics {
    attempts: Family<AttemptLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
    kind: &'static str,
}

impl MailMetrics {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let attempts = Family::<AttemptLabels, Counter>::default();
        registry.register("loyalty_email_attempts", "Attempts to send an email, by outcome and kind", attempts.clone());
        for (outcome, kind) in Outcome::ALL.iter().flat_map(|it| EmailKind::ALL.iter().map(move |kind| (*it, *kind))) {
            // From zero on: a rate cannot be told from a counter that appears with its first event.
            attempts.get_or_create(&labels(outcome, kind)).inc_by(0);
        }
        Self { attempts }
    }

    pub(crate) fn attempted(&self, outcome: Outcome, kind: EmailKind) {
        self.attempts.get_or_create(&labels(outcome, kind)).inc();
    }
}

const fn labels(outcome: Outcome, kind: EmailKind) -> AttemptLabels {
    AttemptLabels { outcome: outcome.as_str(), kind: kind.as_str() }
}
