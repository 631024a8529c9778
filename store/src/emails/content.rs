//! What an email tells its member.

use std::fmt;

use jiff::civil::Date;
use loyalty_common::string_enum;
use serde::Serialize;
use tokio_postgres::Row;

use crate::pool::StoreError;

string_enum! {
    /// What an email is for.
    pub enum EmailKind {
        /// A reward was granted.
        Reward = "reward",
        /// Points expire soon.
        Expiring = "expiring",
    }
}

/// What an email tells, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EmailContent {
    /// [`EmailKind::Reward`]
    Reward {
        /// The how-manyth reward of the membership.
        number: i64,
        /// What the member gets.
        title: String,
        /// The lifetime sum that earned it.
        points: i64,
    },
    /// [`EmailKind::Expiring`]
    Expiring {
        /// The last day on which the points can be spent.
        expires_on: Date,
        /// How many there were when it was written.
        points: i64,
    },
}

impl EmailContent {
    pub const fn kind(&self) -> EmailKind {
        match self {
            Self::Reward { .. } => EmailKind::Reward,
            Self::Expiring { .. } => EmailKind::Expiring,
        }
    }

    /// As the columns have it: `kind`, `number`, `expires_on`, `title`, `points`.
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let kind = EmailKind::parse(row.get("kind")).ok_or(StoreError::UnexpectedValue { column: "email.kind" })?;
        Ok(match kind {
            EmailKind::Reward => {
                Self::Reward { number: row.get("number"), title: row.get("title"), points: row.get("points") }
            }
            EmailKind::Expiring => Self::Expiring { expires_on: row.get("expires_on"), points: row.get("points") },
        })
    }
}

/// In a few words, for people.
impl fmt::Display for EmailContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reward { number, title, .. } => write!(f, "reward {number}: {title}"),
            Self::Expiring { expires_on, points } => write!(f, "{points} points until {expires_on}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_names_its_kind_as_the_database_does() {
        let reward = EmailContent::Reward { number: 1, title: "tea".to_owned(), points: 1_000 };
        let expiring = EmailContent::Expiring { expires_on: Date::constant(2026, 12, 31), points: 120 };
        for (content, words) in [(reward, "reward 1: tea"), (expiring, "120 points until 2026-12-31")] {
            let json = serde_json::to_value(&content).expect("it is data");
            assert_eq!((json["kind"].as_str(), content.to_string().as_str()), (Some(content.kind().as_str()), words));
        }
    }
}
