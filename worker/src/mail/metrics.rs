//! What the mailer counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::outcome::Outcome;

/// The mailer's counters. Clones share them.
#[derive(Clone, Debug)]
pub struct MailMetrics {
    attempts: Family<OutcomeLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl MailMetrics {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let attempts = Family::<OutcomeLabel, Counter>::default();
        registry.register("loyalty_mail_attempts", "Attempts at emails by what became of them", attempts.clone());
        for outcome in Outcome::NAMES {
            // From zero on: a rate cannot be told from a counter that appears with its first event.
            attempts.get_or_create(&OutcomeLabel { outcome }).inc_by(0);
        }
        Self { attempts }
    }

    pub(crate) fn attempted(&self, outcome: &Outcome) {
        self.attempts.get_or_create(&OutcomeLabel { outcome: outcome.name() }).inc();
    }
}
