//! The optional body of a request that becomes a command: one JSON object of a few texts.
//!
//! An error names the field and what is allowed, and never quotes a value: it may be an address.

use loyalty_common::values::Invalid;
use loyalty_common::{EmailAddress, Text};
use serde::Deserialize;

use crate::problem::{Problem, printable};

/// What a body may say. Which of it a route takes is the route's business.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) email: Option<EmailAddress>,
    pub(crate) name: Option<Text>,
    pub(crate) reason: Option<Text>,
    pub(crate) source_ref: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    email: Option<String>,
    name: Option<String>,
    reason: Option<String>,
    source_ref: Option<String>,
}

impl Body {
    /// Reads a body; an empty one says nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let wire: Wire = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| unreadable(&error))?;
        deserializer.end().map_err(|error| malformed(&error))?;
        Ok(Self {
            email: parsed("email", wire.email)?,
            name: parsed("name", wire.name)?,
            reason: parsed("reason", wire.reason)?,
            source_ref: parsed("source_ref", wire.source_ref)?,
        })
    }

    /// The body of a request that is not an enrolment: those have no address and no name.
    pub(crate) fn without_person(self) -> Result<Self, Problem> {
        for (field, given) in [("email", self.email.is_some()), ("name", self.name.is_some())] {
            if given {
                return Err(Problem::invalid(field, "is a field of enrolments only"));
            }
        }
        Ok(self)
    }
}

fn parsed<T: std::str::FromStr<Err = Invalid>>(field: &str, text: Option<String>) -> Result<Option<T>, Problem> {
    text.map(|text| text.parse()).transpose().map_err(|why| Problem::not_allowed(field, &why))
}

/// The parser's words are not passed on: they quote values and names.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    const FIELDS: [&str; 4] = ["email", "name", "reason", "source_ref"];
    let (place, words) = (error.path().to_string(), error.inner().to_string());
    let twice = |field: &&&str| words.starts_with(&format!("duplicate field `{field}`"));
    if !error.inner().is_data() {
        malformed(error.inner())
    } else if let Some(field) = FIELDS.iter().find(twice) {
        Problem::invalid(field, "must be given once")
    } else if words.starts_with("unknown field") {
        Problem::invalid(printable(&place, "body"), "is not a field of this request")
    } else if FIELDS.contains(&place.as_str()) {
        Problem::invalid(&place, "must be a string")
    } else {
        malformed(error.inner())
    }
}

fn malformed(error: &serde_json::Error) -> Problem {
    let place = format!("; it is not, at line {} column {}", error.line(), error.column());
    Problem::invalid("body", "must be one JSON object").adding(&place)
}
