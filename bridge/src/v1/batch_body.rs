//! The commands of a batch as texts: one a line, or the elements of an array. What is in them is not looked at here,
//! so that a bad one harms no other.

use std::fmt;

use axum::http::HeaderMap;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::{Code, Problem};
use crate::request_body::is_of_type;

/// How a batch is spelled, and its answer with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A command a line.
    Ndjson,
    /// One JSON array.
    Array,
}

/// The media type of [`Form::Ndjson`].
pub(crate) const NDJSON: &str = "application/x-ndjson";

impl Form {
    /// The form that a request's headers name.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        if is_of_type(headers, NDJSON) {
            Ok(Self::Ndjson)
        } else if is_of_type(headers, "application/json") {
            Ok(Self::Array)
        } else {
            let allowed = "a batch must be of Content-Type application/x-ndjson, or application/json for an array";
            Err(Problem::new(Code::NotJson, allowed))
        }
    }

    /// The texts of 1 to `max` commands, each with the number of its line or its place, counted from 1.
    pub(crate) fn split(self, body: &[u8], max: usize) -> Result<Vec<(usize, &[u8])>, Problem> {
        let texts = match self {
            // One more than allowed tells that there are too many.
            Self::Ndjson => lines(body).take(max + 1).collect(),
            Self::Array => elements(body, max)?,
        };
        match texts.len() {
            count if (1..=max).contains(&count) => Ok(texts),
            _ => Err(wrong_number(max)),
        }
    }
}

/// Lines without anything on them are no commands: many writers end with one.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(body.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty())
}

fn elements(body: &[u8], max: usize) -> Result<Vec<(usize, &[u8])>, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = serde::Deserializer::deserialize_seq(&mut deserializer, Elements { max });
    let elements = read.and_then(|elements| deserializer.end().map(|()| elements)).map_err(|error| {
        if error.to_string().starts_with(TOO_MANY) {
            return wrong_number(max);
        }
        let place = format!("; it is not, at line {} column {}", error.line(), error.column());
        Problem::invalid("body", "must be one JSON array").adding(&place)
    })?;
    Ok((1..).zip(elements.into_iter().map(|element| element.get().as_bytes())).collect())
}

fn wrong_number(max: usize) -> Problem {
    Problem::invalid("body", &format!("must be 1 to {max} commands"))
}

const TOO_MANY: &str = "too many commands";

/// Collects the texts of an array's elements, and stops at one too many rather than hold a million of them.
struct Elements {
    max: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            if elements.len() == self.max {
                return Err(A::Error::custom(TOO_MANY));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(form: Form, body: &str) -> Vec<(usize, String)> {
        let texts = form.split(body.as_bytes(), 3).expect("a batch");
        texts.into_iter().map(|(line, text)| (line, String::from_utf8_lossy(text).into_owned())).collect()
    }

    #[test]
    fn lines_keep_their_numbers_and_empty_ones_are_none() {
        let texts = split(Form::Ndjson, "{}\r\n\n  \nnonsense\n");
        assert_eq!(texts, [(1, "{}\r".to_owned()), (4, "nonsense".to_owned())]);
    }

    #[test]
    fn elements_are_taken_as_they_stand() {
        let texts = split(Form::Array, " [ {\"a\":1,\"a\":2} ,5, [\"],[\"] ]\n");
        let expected = [(1, "{\"a\":1,\"a\":2}"), (2, "5"), (3, "[\"],[\"]")];
        assert_eq!(texts, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn too_many_or_none_is_no_batch() {
        for (form, body) in [
            (Form::Ndjson, "1\n2\n3\n4"),
            (Form::Array, "[1,2,3,4]"),
            (Form::Ndjson, " \n\n"),
            (Form::Array, "[]"),
            (Form::Array, "{}"),
            (Form::Array, "[1,2"),
            (Form::Array, "[1] [2]"),
            (Form::Array, ""),
        ] {
            assert!(form.split(body.as_bytes(), 3).is_err(), "{body:?}");
        }
        assert!(Form::Array.split(b"[\xff]", 3).is_err());
    }
}
