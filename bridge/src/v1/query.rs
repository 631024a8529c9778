//! The parameters after a path's question mark. A name that is not known is refused rather than dropped: a misspelt
//! filter must not answer with everybody.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use loyalty_common::values::Invalid;

use crate::problem::{Problem, printable};

/// The parameters that have not been taken yet.
#[derive(Debug)]
pub(crate) struct QueryParams(Vec<(String, String)>);

impl QueryParams {
    /// A parameter that `parse` reads. What is not read is told with the words of its error.
    pub(crate) fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Problem> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, text) = self.0.remove(at);
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(Problem::invalid(name, "must be given once"));
        }
        parse(&text).map(Some).map_err(|why| Problem::not_allowed(name, &why))
    }

    /// An integer of plain digits, from `least` to `most`.
    pub(crate) fn integer(&mut self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Problem> {
        self.take(name, |text| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
            number.ok_or_else(|| Invalid::new(format!("must be an integer from {least} to {most}")))
        })
    }

    /// How long the client waits at most: `wait` in whole seconds.
    pub(crate) fn wait(&mut self, max: Duration) -> Result<Option<Duration>, Problem> {
        let seconds = self.integer("wait", 0, i64::try_from(max.as_secs()).unwrap_or(i64::MAX))?;
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())))
    }

    /// Ends the taking: whatever is left is known to nobody.
    pub(crate) fn nothing_left(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid(printable(name, "query"), "is not a parameter of this request")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for QueryParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        let Query(parameters) = query.map_err(|_| Problem::invalid("query", "must be names with values, in UTF-8"))?;
        Ok(Self(parameters))
    }
}
