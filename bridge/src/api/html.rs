//! The interface as a page: plain HTML with its style in it, for a browser that may load nothing else.

use std::fmt::Write;

use serde_json::Value;

use super::endpoint::{Endpoint, Parameter};
use super::schemas;
use crate::problem::Code;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    h2{margin-top:3rem;border-bottom:1px solid #ccc}h3{margin-top:2.2rem}code,pre{font-family:ui-monospace,monospace;\
    font-size:.9em;background:#f4f4f4;padding:.1em .3em}pre{padding:.8em;overflow:auto}table{border-collapse:collapse}\
    td,th{border-bottom:1px solid #ddd;padding:.3em .8em .3em 0;text-align:left;vertical-align:top}\
    @media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code,pre{background:#2a2a2a}}";

pub(super) fn of(endpoints: &[Endpoint]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>loyalty</title><style>{STYLE}</style><h1>loyalty</h1><p>Loyalty points over HTTP. For programs: \
         <a href=/openapi.json>openapi.json</a>, OpenAPI 3.1."
    );
    let mut tag = "";
    for endpoint in endpoints {
        if endpoint.tag != tag {
            tag = endpoint.tag;
            push(&mut page, format_args!("<h2>{}</h2>", escaped(tag)));
        }
        describe(&mut page, endpoint);
    }
    page.push_str("<h2>Problems</h2><p>From 400 up: <code>application/problem+json</code> (RFC 9457).<table>");
    page.push_str("<tr><th>code<th>status<th>");
    for code in Code::ALL {
        let (status, purpose) = (code.status().as_u16(), escaped(code.purpose()));
        push(&mut page, format_args!("<tr><td><code>{code}</code><td>{status}<td>{purpose}"));
    }
    page.push_str("</table><h2>Values</h2>");
    for (name, schema) in schemas::all() {
        push(&mut page, format_args!("<h3 id='{0}'>{0}</h3><pre>{1:#}</pre>", escaped(&name), Escaped(&schema)));
    }
    page
}

fn describe(page: &mut String, endpoint: &Endpoint) {
    let (method, path) = (endpoint.method.to_uppercase(), escaped(endpoint.path));
    push(page, format_args!("<h3><code>{method} {path}</code></h3><p>{}.", escaped(endpoint.summary)));
    if !endpoint.description.is_empty() {
        push(page, format_args!(" {}", escaped(endpoint.description)));
    }
    if !endpoint.scopes.is_empty() {
        let scopes: Vec<&str> = endpoint.scopes.iter().map(|scope| scope.as_str()).collect();
        push(page, format_args!("<p>Token with the scope <code>{}</code>.", scopes.join("</code> or <code>")));
    }
    if !endpoint.parameters.is_empty() {
        page.push_str("<table><tr><th>parameter<th>in<th>");
        endpoint.parameters.iter().for_each(|it| parameter(page, it));
        page.push_str("</table>");
    }
    if let Some((required, content)) = &endpoint.body {
        let needed = if *required { "" } else { " (optional)" };
        push(page, format_args!("<p>Body{needed}: {}", contents(content)));
    }
    page.push_str("<table><tr><th>status<th>answer");
    for answer in &endpoint.answers {
        let holds = contents(&answer.content);
        push(page, format_args!("<tr><td>{}<td>{} {holds}", answer.status, escaped(answer.description)));
    }
    for code in &endpoint.codes {
        push(page, format_args!("<tr><td>{}<td><code>{code}</code>", code.status().as_u16()));
    }
    page.push_str("</table>");
}

fn parameter(page: &mut String, parameter: &Parameter) {
    let Parameter { place, name, description, .. } = parameter;
    push(page, format_args!("<tr><td><code>{name}</code><td>{place}<td>{}", escaped(description)));
}

/// The media types, each with the name of what it holds.
fn contents(content: &[(&str, Value)]) -> String {
    let one = |(media_type, schema): &(&str, Value)| {
        let inner = schema.get("items").unwrap_or(schema);
        let name = inner["$ref"].as_str().and_then(|place| place.rsplit('/').next());
        let link = name.map(|name| format!(": <a href='#{0}'>{0}</a>", escaped(name))).unwrap_or_default();
        format!("<code>{media_type}</code>{link}")
    };
    content.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn push(page: &mut String, part: std::fmt::Arguments<'_>) {
    page.write_fmt(part).expect("writing to a string cannot fail");
}

/// A text that is none of HTML's.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

/// A value with line breaks, as a text that is none of HTML's.
struct Escaped<'a>(&'a Value);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&escaped(&format!("{:#}", self.0)))
    }
}
