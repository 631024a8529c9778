//! The tables of the file that say what the programme is: `[programme]`, `[expiry]`, `[reversal]`.

use loyalty_common::{Points, Text};
use loyalty_ledger::{Expiry, Reversal, RoundUp, Validity, WhenShort, Zone};
use loyalty_worker::Programme;
use serde::{Deserialize, Deserializer};

/// The table `[programme]`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProgrammeTable {
    milestone: i64,
    reward: String,
}

impl Default for ProgrammeTable {
    fn default() -> Self {
        let Programme { milestone, reward, .. } = Programme::default();
        Self { milestone: milestone.map_or(0, Points::get), reward }
    }
}

pub(super) fn programme<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Programme, D::Error> {
    use serde::de::Error;
    let ProgrammeTable { milestone, reward } = ProgrammeTable::deserialize(deserializer)?;
    let milestone =
        match milestone {
            0 => None,
            points => Some(Points::try_new(points).map_err(|allowed| {
                D::Error::custom(format_args!("programme.milestone {allowed}, or 0 for no rewards"))
            })?),
        };
    // The reward stands in an email's subject, so it is bound as every text of the contract.
    Text::parse(&reward).map_err(|allowed| D::Error::custom(format_args!("programme.reward {allowed}")))?;
    Ok(Programme { milestone, reward, ..Programme::default() })
}

/// The table `[expiry]`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ExpiryTable {
    /// None: points never expire, whatever else the table says.
    after: Option<Validity>,
    round_up: RoundUp,
    zone: Zone,
    warn_days: u16,
}

impl Default for ExpiryTable {
    fn default() -> Self {
        Self { after: None, round_up: RoundUp::None, zone: Zone::UTC, warn_days: 0 }
    }
}

pub(super) fn expiry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Expiry>, D::Error> {
    let ExpiryTable { after, round_up, zone, warn_days } = ExpiryTable::deserialize(deserializer)?;
    Ok(after.map(|after| Expiry { after, round_up, zone, warn_days }))
}

/// The table `[reversal]`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReversalTable {
    when_short: WhenShort,
    grace_days: u16,
}

impl Default for ReversalTable {
    fn default() -> Self {
        let Reversal { when_short, grace_days } = Reversal::default();
        Self { when_short, grace_days }
    }
}

pub(super) fn reversal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Reversal, D::Error> {
    let ReversalTable { when_short, grace_days } = ReversalTable::deserialize(deserializer)?;
    Ok(Reversal { when_short, grace_days })
}
