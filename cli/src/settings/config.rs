//! The shop's programme: `loyalty.toml`. Every key has a default; an unknown one is an error that names it, since a
//! mistyped milestone must not silently be the default one.

mod programme;

use std::io;
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use loyalty_common::topology::Topology;
use loyalty_ledger::{Expiry, Reversal};
use loyalty_worker::mail::MailSettings;
use loyalty_worker::{Events, Limits, Programme};
use serde::{Deserialize, Deserializer};

use super::SettingsError;

/// Read when it is there and nothing else is said.
pub(super) const DEFAULT_FILE: &str = "loyalty.toml";

/// What the file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Tables")]
pub(crate) struct Config {
    pub(crate) programme: Programme,
    pub(crate) mail: MailSettings,
    parked: Parked,
    sweep: Sweep,
    pub(crate) events: Events,
}

/// The file, table by table.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tables {
    #[serde(deserialize_with = "programme::programme")]
    programme: Programme,
    #[serde(deserialize_with = "programme::expiry")]
    expiry: Option<Expiry>,
    #[serde(deserialize_with = "programme::reversal")]
    reversal: Reversal,
    mail: MailSettings,
    parked: Parked,
    sweep: Sweep,
    #[serde(deserialize_with = "events")]
    events: Events,
}

impl From<Tables> for Config {
    fn from(tables: Tables) -> Self {
        let Tables { programme, expiry, reversal, mail, parked, sweep, events } = tables;
        Self { programme: Programme { expiry, reversal, ..programme }, mail, parked, sweep, events }
    }
}

impl Default for Config {
    fn default() -> Self {
        Tables::default().into()
    }
}

/// The table `[parked]`: commands that wait for their member's enrolment.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Parked {
    /// Whole days.
    keep_days: NonZeroU16,
}

impl Parked {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// How long they wait at most.
    fn keep(self) -> Duration {
        Self::DAY * u32::from(self.keep_days.get())
    }
}

impl Default for Parked {
    fn default() -> Self {
        const MONTH: NonZeroU16 = NonZeroU16::new(30).expect("30 is not 0");
        Self { keep_days: MONTH }
    }
}

/// The table `[sweep]`: members whom no command touches.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sweep {
    /// Whole hours.
    late_hours: u16,
}

impl Sweep {
    /// How long after it was due something happens to them.
    fn late(self) -> Duration {
        Duration::from_secs(60 * 60) * u32::from(self.late_hours)
    }
}

impl Default for Sweep {
    fn default() -> Self {
        Self { late_hours: 48 }
    }
}

impl Config {
    /// What a worker may hold, with what the file says of it.
    pub(crate) fn limits(&self) -> Limits {
        Limits { parked_keep: self.parked.keep(), sweep_late: self.sweep.late(), ..Limits::default() }
    }

    /// What must stand on the broker.
    pub(crate) fn topology(&self) -> Topology {
        Topology::new(self.mail.retry_delays.delays()).with_events(self.events == Events::On)
    }

    /// The file that was named, which must exist, or else the default one, which need not.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, SettingsError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|problem| SettingsError::Config { path: path.to_path_buf(), problem })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(Self::default()),
            Err(source) => Err(SettingsError::Read { path: path.to_path_buf(), source }),
        }
    }

    /// What is wrong is told with its line, and without quoting it: it may be the mail server's password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let document = toml::Deserializer::parse(text).map_err(|error| told(text, "", &error))?;
        serde_path_to_error::deserialize(document).map_err(|error| told(text, &error.path().to_string(), error.inner()))
    }
}

/// The line, the key and what is allowed. Some texts name their key themselves.
fn told(text: &str, key: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    let message = error.message();
    if key.is_empty() || key == "." || message.contains(key) {
        format!("line {line}: {message}")
    } else {
        format!("line {line}: {key}: {message}")
    }
}

/// The table `[events]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EventsTable {
    enabled: bool,
}

fn events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Events, D::Error> {
    let EventsTable { enabled } = EventsTable::deserialize(deserializer)?;
    Ok(if enabled { Events::On } else { Events::Off })
}

#[cfg(test)]
mod tests {
    use loyalty_common::Points;
    use loyalty_ledger::{RoundUp, Validity, WhenShort, Zone};

    use super::*;

    #[test]
    fn the_file_in_the_repository_says_what_the_defaults_are() {
        let file = Config::parse(include_str!("../../../loyalty.toml")).expect("it is valid");
        assert_eq!(format!("{file:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn what_is_parked_is_kept_for_whole_days() {
        let keep = |text: &str| Config::parse(text).map(|config| config.limits().parked_keep.as_secs() / 3600);
        assert_eq!((keep(""), keep("[parked]\nkeep_days = 2")), (Ok(30 * 24), Ok(2 * 24)));
        assert!(keep("[parked]\nkeep_days = 0").is_err());
    }

    #[test]
    fn events_are_told_only_if_they_are_switched_on() {
        let exchanges = |text: &str| {
            let config = Config::parse(text).expect("valid");
            let told = config.topology().exchanges.iter().any(|exchange| exchange.name == "loyalty.events");
            (config.events, told)
        };
        assert_eq!(exchanges(""), (Events::Off, false));
        assert_eq!(exchanges("[events]\nenabled = true"), (Events::On, true));
        assert_eq!(exchanges("[events]\nenabled = false"), (Events::Off, false));
    }

    #[test]
    fn no_milestone_is_no_rewards() {
        let config = Config::parse("[programme]\nmilestone = 0\nreward = \"tea\"").expect("valid");
        assert_eq!(config.programme, Programme { milestone: None, reward: "tea".into(), ..Programme::default() });
        let config = Config::parse("[programme]\nmilestone = 500").expect("valid");
        assert_eq!(config.programme.milestone.map(Points::get), Some(500));
    }

    #[test]
    fn points_expire_only_if_the_file_says_after_what_time() {
        let expiry = |text: &str| Config::parse(text).expect("valid").programme.expiry;
        assert_eq!(expiry("[expiry]\nwarn_days = 7"), None);
        let said = "[expiry]\nafter = \"12 months\"\nround_up = \"year\"\nzone = \"Europe/Berlin\"\nwarn_days = 7";
        let zone = "Europe/Berlin".parse().expect("a zone");
        let expected = Expiry { after: Validity::Months(12), round_up: RoundUp::Year, zone, warn_days: 7 };
        assert_eq!(expiry(said), Some(expected));
        let expected = Expiry { after: Validity::Days(365), round_up: RoundUp::None, zone: Zone::UTC, warn_days: 0 };
        assert_eq!(expiry("[expiry]\nafter = \"365d\""), Some(expected));
    }

    #[test]
    fn a_reversal_is_as_the_file_says() {
        let config = Config::parse("[reversal]\nwhen_short = \"refuse\"\ngrace_days = 0").expect("valid");
        assert_eq!(config.programme.reversal, Reversal { when_short: WhenShort::Refuse, grace_days: 0 });
        assert_eq!(Config::default().programme, Programme::default());
    }

    #[test]
    fn the_sweep_comes_whole_hours_late() {
        let late = |text: &str| Config::parse(text).map(|config| config.limits().sweep_late.as_secs() / 3600);
        assert_eq!((late(""), late("[sweep]\nlate_hours = 0")), (Ok(48), Ok(0)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_never_quoted() {
        let problem = |text: &str| Config::parse(text).expect_err(text);
        insta::assert_snapshot!(problem("[programme]\nmilstone = 5"), @"line 2: programme.milstone: unknown field `milstone`, expected `milestone` or `reward`");
        insta::assert_snapshot!(problem("[programm]\nmilestone = 5"), @"line 1: unknown field `programm`, expected one of `programme`, `expiry`, `reversal`, `mail`, `parked`, `sweep`, `events`");
        insta::assert_snapshot!(problem("[programme]\nmilestone = -5"), @"line 1: programme.milestone must be an integer from 1 to 1000000000000, or 0 for no rewards");
        insta::assert_snapshot!(problem("[programme]\nreward = \"\""), @"line 1: programme.reward must be 1 to 200 bytes of UTF-8 without control characters");
        insta::assert_snapshot!(problem("[expiry]\nafter = \"2 years\""), @"line 2: expiry.after: must be days or months of at most a century, such as 365d or 12 months");
        insta::assert_snapshot!(problem("[expiry]\nround_up = \"week\""), @"line 2: expiry.round_up: not one of none, month, quarter, year");
        insta::assert_snapshot!(problem("[expiry]\nzone = \"Europe/Atlantis\""), @"line 2: expiry.zone: must be the IANA name of a time zone, such as Europe/Berlin");
        insta::assert_snapshot!(problem("[reversal]\nwhen_short = \"never\""), @"line 2: reversal.when_short: not one of debt, refuse");
        insta::assert_snapshot!(problem("[mail]\nsmpt = \"smtp://ann:s3cret@host\""), @"line 2: mail.smpt: unknown field `smpt`, expected one of `smtp`, `from`, `retry_delays`, `connections`, `per_second`, `on_unknown`, `answer_seconds`, `reward`, `expiring`");
        insta::assert_snapshot!(problem("[mail]\nsmtp = s3cret"), @"line 2: string values must be quoted, expected literal string");
    }
}
