//! OpenAPI 3.1 of a list of routes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::endpoint::{Answer, Endpoint, PROBLEM, Parameter, reference};
use super::schemas;
use crate::problem::Code;

/// The name of what a request is let in by.
const TOKEN: &str = "token";

pub(super) fn of(endpoints: &[Endpoint]) -> Value {
    let mut paths = Map::new();
    for endpoint in endpoints {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "loyalty",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
            "description": "Loyalty points over HTTP. A command that is accepted is applied, refused with a reason, or \
                kept for an operator; repeating it under its id or key changes nothing.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {TOKEN: {
                "type": "http",
                "scheme": "bearer",
                "description": "Made by `loyalty token create`. A bridge that was never given a token asks for none.",
            }},
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "parameters": endpoint.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses(endpoint),
    });
    if !endpoint.scopes.is_empty() {
        // One of them is enough.
        operation["security"] = endpoint.scopes.iter().map(|scope| json!({TOKEN: [scope]})).collect();
    }
    if !endpoint.description.is_empty() {
        operation["description"] = endpoint.description.into();
    }
    if let Some((required, content)) = &endpoint.body {
        operation["requestBody"] = json!({"required": required, "content": media_types(content)});
    }
    operation
}

/// A name that clients can make a function of: `post_v1_commands_batch`.
fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(endpoint.method).chain(words).collect::<Vec<_>>().join("_")
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "in": parameter.place,
        "name": parameter.name,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    })
}

fn media_types(content: &[(&str, Value)]) -> Value {
    content.iter().map(|(media_type, schema)| ((*media_type).to_owned(), json!({"schema": schema}))).collect()
}

/// Its answers and its problems. One status may be both.
fn responses(endpoint: &Endpoint) -> Value {
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for answer in &endpoint.answers {
        responses.insert(answer.status.to_string(), response(answer));
    }
    let mut codes: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in &endpoint.codes {
        codes.entry(code.status().as_u16()).or_default().push(*code);
    }
    for (status, codes) in codes {
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({"description": ""}));
        let told: Vec<String> = codes.iter().map(|code| format!("`{code}`: {}.", code.purpose())).collect();
        let before = response["description"].as_str().filter(|text| !text.is_empty());
        response["description"] =
            before.into_iter().chain([told.join(" ").as_str()]).collect::<Vec<_>>().join(" ").into();
        response["content"][PROBLEM] = json!({"schema": reference("Problem")});
        if codes.iter().any(|code| code.challenge().is_some()) {
            response["headers"]["WWW-Authenticate"] = header("What is wrong with the token (RFC 6750).");
        }
        if codes.iter().any(|code| code.is_worth_repeating()) {
            response["headers"]["Retry-After"] = header("Seconds until the request may be repeated.");
        }
    }
    json!(responses)
}

fn response(answer: &Answer) -> Value {
    let headers: Map<String, Value> =
        answer.headers.iter().map(|(name, says)| ((*name).to_owned(), header(says))).collect();
    let mut response = json!({"description": answer.description, "content": media_types(&answer.content)});
    if !headers.is_empty() {
        response["headers"] = headers.into();
    }
    response
}

fn header(description: &str) -> Value {
    json!({"description": description, "schema": {"type": "string"}})
}
