//! Compares what the management API shows with what is wanted: values in, differences out.

use loyalty_common::topology::{self, Argument, Impact, LIMITS, Topology, Value};
use serde_json::{Map, Value as Json};

use super::difference::{Difference, Kind};
use super::management_model::{Binding, Exchange, Queue, VirtualHost};
use super::retired_retry_queues;

/// All differences but those that policies make.
pub(super) fn differences(wanted: &Topology, shown: &VirtualHost) -> Vec<Difference> {
    let mut differences = Vec::new();
    for exchange in &wanted.exchanges {
        match shown.exchanges.iter().find(|standing| standing.name == exchange.name) {
            Some(standing) => compare_exchange(exchange, standing, &mut differences),
            None => differences.push(Difference::new(Kind::Exchange, exchange.name, "is missing", Impact::Missing)),
        }
    }
    for queue in &wanted.queues {
        match shown.queues.iter().find(|standing| standing.name == queue.name) {
            Some(standing) => compare_queue(queue, standing, &mut differences),
            None => differences.push(Difference::new(Kind::Queue, &queue.name, "is missing", Impact::Missing)),
        }
    }
    differences.extend(missing_bindings(wanted, shown));
    differences.extend(shown.bindings.iter().filter_map(|binding| extra_binding(wanted, binding)));
    differences
}

fn compare_exchange(wanted: &topology::Exchange, standing: &Exchange, differences: &mut Vec<Difference>) {
    let mut differs = |what: String, breaks| {
        differences.push(Difference::new(Kind::Exchange, wanted.name, what, breaks));
    };
    let kind = kind(&wanted.kind);
    if standing.kind != kind {
        differs(format!("is of the type {}, wanted {kind}", standing.kind), Impact::Missing);
    }
    if standing.internal {
        differs("is internal".to_owned(), Impact::Missing);
    }
    if !standing.durable || standing.auto_delete {
        differs("is not durable, or deletes itself".to_owned(), Impact::Perishable);
    }
    for (what, breaks) in compare_arguments(&wanted.arguments, &standing.arguments) {
        differs(what, breaks);
    }
}

fn compare_queue(wanted: &topology::Queue, standing: &Queue, differences: &mut Vec<Difference>) {
    let mut differs = |what: String, breaks| {
        differences.push(Difference::new(Kind::Queue, &wanted.name, what, breaks));
    };
    if !standing.durable || standing.auto_delete {
        differs("is not durable, or deletes itself".to_owned(), Impact::Perishable);
    }
    for (what, breaks) in compare_arguments(&wanted.arguments, &standing.arguments) {
        differs(what, breaks);
    }
    if !standing.is_led() {
        let (online, members) = (standing.online.as_ref(), standing.members.as_ref());
        let running = online.map_or(0, Vec::len);
        let of = members.map_or(0, Vec::len);
        differs(format!("has no running leader; {running} of its {of} nodes run"), Impact::Halted);
    }
}

/// What is missing or another, then what nobody wants.
fn compare_arguments(wanted: &[Argument], standing: &Map<String, Json>) -> Vec<(String, Impact)> {
    let differing = wanted.iter().filter_map(|Argument { name, value, breaks }| {
        let wanted = json(value);
        let what = match standing.get(*name) {
            Some(standing) if *standing == wanted => return None,
            Some(standing) => format!("{name} is {}, wanted {}", plain(standing), plain(&wanted)),
            None => format!("{name} is not set, wanted {}", plain(&wanted)),
        };
        Some((what, *breaks))
    });
    let unwanted = standing.iter().filter(|(name, _)| !wanted.iter().any(|argument| argument.name == *name));
    let unwanted = unwanted.map(|(name, value)| {
        let limit = LIMITS.into_iter().find(|(key, _)| name.strip_prefix("x-") == Some(*key));
        (format!("{name} is {}, which is not expected", plain(value)), limit.map_or(Impact::Unwanted, |(_, harm)| harm))
    });
    differing.chain(unwanted).collect()
}

fn missing_bindings(wanted: &Topology, shown: &VirtualHost) -> Vec<Difference> {
    let wanted = wanted
        .queues
        .iter()
        .flat_map(|queue| queue.bindings.iter().map(|(exchange, key)| (*exchange, queue.name.as_str(), key.as_str())));
    let missing = wanted.filter(|(exchange, queue, key)| {
        !shown
            .bindings
            .iter()
            .any(|binding| binding.is_to_queue(queue) && binding.source == *exchange && binding.routing_key == *key)
    });
    missing
        .map(|(exchange, queue, key)| {
            Difference::new(Kind::Binding, &way(exchange, queue, key), "is missing", Impact::Unbound)
        })
        .collect()
}

/// A binding from or to something of ours that nobody wants. Those of retired retry queues go with them.
fn extra_binding(wanted: &Topology, binding: &Binding) -> Option<Difference> {
    let Binding { source, destination, routing_key, .. } = binding;
    let target = wanted.queues.iter().find(|queue| binding.is_to_queue(&queue.name));
    let is_wanted = target
        .is_some_and(|queue| queue.bindings.iter().any(|(exchange, key)| source == exchange && routing_key == key));
    // Every queue is bound to the default exchange, which has no name and cannot be bound otherwise.
    if source.is_empty() || is_wanted || retired_retry_queues::is_retired(wanted, destination) {
        return None;
    }
    let is_ours = |name: &str| wanted.exchanges.iter().any(|exchange| exchange.name == name);
    let leads_in = target.is_some() || binding.is_to_exchange() && is_ours(destination);
    let breaks = match (is_ours(source), leads_in) {
        (_, true) => Impact::Intruding,
        // Whoever listens binds a queue of their own; that is what the exchange is for.
        (true, false) if source == topology::EVENTS => return None,
        (true, false) => Impact::Copied,
        (false, false) => return None,
    };
    let name = way(source, destination, routing_key);
    Some(Difference::new(Kind::Binding, &name, "exists, but is not expected", breaks))
}

impl Binding {
    fn is_to_queue(&self, name: &str) -> bool {
        self.destination_type == "queue" && self.destination == name
    }

    fn is_to_exchange(&self) -> bool {
        self.destination_type == "exchange"
    }
}

fn way(exchange: &str, destination: &str, key: &str) -> String {
    format!("{exchange} -> {destination} (key {key:?})")
}

fn kind(kind: &lapin::ExchangeKind) -> &str {
    match kind {
        lapin::ExchangeKind::Custom(name) => name,
        lapin::ExchangeKind::Direct => "direct",
        lapin::ExchangeKind::Fanout => "fanout",
        lapin::ExchangeKind::Headers => "headers",
        lapin::ExchangeKind::Topic => "topic",
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Number(number) => Json::from(*number),
        Value::Switch(on) => Json::from(*on),
    }
}

/// A value for people: text without its quotes.
pub(super) fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
