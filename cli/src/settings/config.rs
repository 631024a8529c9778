//! The shop's programme: `loyalty.toml`. Every key has a default; an unknown one is an error that names it, since a
//! mistyped milestone must not silently be the default one.

use std::io;
use std::path::Path;

use loyalty_common::{Points, Text};
use loyalty_worker::Programme;
use loyalty_worker::mail::MailSettings;
use serde::{Deserialize, Deserializer};

use super::SettingsError;

/// Read when it is there and nothing else is said.
const DEFAULT_FILE: &str = "loyalty.toml";

/// What the file says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(deserialize_with = "programme")]
    pub(crate) programme: Programme,
    pub(crate) mail: MailSettings,
}

impl Config {
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
    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            format!("line {line}: {}", error.message())
        })
    }
}

/// The table `[programme]`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProgrammeTable {
    milestone: i64,
    reward: String,
}

impl Default for ProgrammeTable {
    fn default() -> Self {
        let Programme { milestone, reward } = Programme::default();
        Self { milestone: milestone.map_or(0, Points::get), reward }
    }
}

fn programme<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Programme, D::Error> {
    use serde::de::Error;
    let ProgrammeTable { milestone, reward } = ProgrammeTable::deserialize(deserializer)?;
    let milestone =
        match milestone {
            0 => None,
            points => Some(Points::try_new(points).map_err(|allowed| {
                D::Error::custom(format_args!("programme.milestone {allowed}, or 0 for no rewards"))
            })?),
        };
    // The reward stands in a mail's subject, so it is bound as every text of the contract.
    Text::parse(&reward).map_err(|allowed| D::Error::custom(format_args!("programme.reward {allowed}")))?;
    Ok(Programme { milestone, reward })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_the_repository_says_what_the_defaults_are() {
        let file = Config::parse(include_str!("../../../loyalty.toml")).expect("it is valid");
        assert_eq!(format!("{file:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn no_milestone_is_no_rewards() {
        let config = Config::parse("[programme]\nmilestone = 0\nreward = \"tea\"").expect("valid");
        assert_eq!(config.programme, Programme { milestone: None, reward: "tea".into() });
        let config = Config::parse("[programme]\nmilestone = 500").expect("valid");
        assert_eq!(config.programme.milestone.map(Points::get), Some(500));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_never_quoted() {
        let problem = |text: &str| Config::parse(text).expect_err(text);
        insta::assert_snapshot!(problem("[programme]\nmilstone = 5"), @"line 2: unknown field `milstone`, expected `milestone` or `reward`");
        insta::assert_snapshot!(problem("[programm]\nmilestone = 5"), @"line 1: unknown field `programm`, expected `programme` or `mail`");
        insta::assert_snapshot!(problem("[programme]\nmilestone = -5"), @"line 1: programme.milestone must be an integer from 1 to 1000000000000, or 0 for no rewards");
        insta::assert_snapshot!(problem("[programme]\nreward = \"\""), @"line 1: programme.reward must be 1 to 200 bytes of UTF-8 without control characters");
        insta::assert_snapshot!(problem("[mail]\nsmpt = \"smtp://ann:s3cret@host\""), @"line 2: unknown field `smpt`, expected one of `smtp`, `from`, `ladder`, `connections`, `per_second`, `on_unknown`, `answer_seconds`, `subject`, `text`, `html`");
        insta::assert_snapshot!(problem("[mail]\nsmtp = s3cret"), @"line 2: string values must be quoted, expected literal string");
    }
}
