//! What is said of a route: its parameters, its body, its answers, and the codes of its problems.

use axum::http::Method;
use loyalty_store::token::Scope;
use serde_json::{Value, json};

use crate::problem::Code;

/// The media type of problems.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// A route as its users see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint {
    /// In lower case, as OpenAPI has it.
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// In a few words.
    pub(crate) summary: &'static str,
    /// What the summary leaves out.
    pub(crate) description: &'static str,
    /// The heading that it stands under.
    pub(crate) tag: &'static str,
    pub(crate) parameters: Vec<Parameter>,
    /// Media types with what they hold, and whether there must be a body.
    pub(crate) body: Option<(bool, Vec<(&'static str, Value)>)>,
    pub(crate) answers: Vec<Answer>,
    /// A token needs one of them; none: it needs no token.
    pub(crate) scopes: &'static [Scope],
    /// Of the problems that it answers with, besides those of every route.
    pub(crate) codes: Vec<Code>,
}

/// A parameter in the path, the query or a header.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// `path`, `query` or `header`.
    pub(crate) place: &'static str,
    pub(crate) name: &'static str,
    pub(crate) schema: Value,
    pub(crate) description: &'static str,
}

/// An answer that is no problem, or that says more than one.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    pub(crate) content: Vec<(&'static str, Value)>,
    /// Names with what they say.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

/// The codes that any request may meet before its route is asked.
const EVERYWHERE: [Code; 5] = [Code::UnknownHost, Code::CrossSite, Code::Busy, Code::TookTooLong, Code::Internal];

/// The codes of a route that asks for a token. The tokens are in the database.
const GUARDED: [Code; 4] = [Code::NoToken, Code::InvalidToken, Code::InsufficientScope, Code::DatabaseAway];

impl Endpoint {
    /// Something to read.
    pub(crate) fn get(path: &'static str, summary: &'static str) -> Self {
        Self::of("get", path, summary)
    }

    /// Something to send.
    pub(crate) fn post(path: &'static str, summary: &'static str) -> Self {
        Self::of("post", path, summary)
    }

    /// Something to end.
    pub(crate) fn delete(path: &'static str, summary: &'static str) -> Self {
        Self::of("delete", path, summary)
    }

    fn of(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self { method, path, summary, ..Self::default() }
    }

    pub(crate) fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    pub(crate) fn says(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    pub(crate) fn takes(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// A body that may be of several media types.
    pub(crate) fn body(mut self, required: bool, content: Vec<(&'static str, Value)>) -> Self {
        self.body = Some((required, content));
        self
    }

    pub(crate) fn answers(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    /// With the scopes that the door asks for.
    pub(crate) fn admitting(mut self, needed: fn(&Method, &str) -> &'static [Scope]) -> Self {
        let method = self.method.to_uppercase().parse().expect("the three methods are tokens");
        self.scopes = needed(&method, self.path);
        if self.scopes.is_empty() { self } else { self.problems(&GUARDED) }
    }

    pub(crate) fn problems(mut self, codes: &[Code]) -> Self {
        let new = EVERYWHERE.iter().chain(codes).filter(|code| !self.codes.contains(code));
        let new: Vec<Code> = new.copied().collect();
        self.codes.extend(new);
        self
    }
}

impl Answer {
    /// An answer without a body yet.
    pub(crate) const fn of(status: u16, description: &'static str) -> Self {
        Self { status, description, content: Vec::new(), headers: Vec::new() }
    }

    pub(crate) fn typed(mut self, media_type: &'static str, schema: Value) -> Self {
        self.content.push((media_type, schema));
        self
    }

    /// A body of JSON that is described among the schemas.
    pub(crate) fn json(self, schema: &str) -> Self {
        self.typed("application/json", reference(schema))
    }

    pub(crate) fn header(mut self, name: &'static str, description: &'static str) -> Self {
        self.headers.push((name, description));
        self
    }
}

/// A schema of that name.
pub(crate) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// A part of the path.
pub(crate) fn path(name: &'static str, schema: Value, description: &'static str) -> Parameter {
    Parameter { place: "path", name, schema, description }
}

/// A parameter after the question mark.
pub(crate) fn query(name: &'static str, schema: Value, description: &'static str) -> Parameter {
    Parameter { place: "query", name, schema, description }
}

/// A header of the request.
pub(crate) fn header_of(name: &'static str, schema: Value, description: &'static str) -> Parameter {
    Parameter { place: "header", name, schema, description }
}
