//! What policies make of our queues, whatever their arguments say.
//!
//! A policy is applied by RabbitMQ to queues that stand, and shows in none of their arguments. Of two limits the lower
//! holds; an overflow of a policy holds over the argument's; where dead letters go, the argument's holds.

use loyalty_common::topology::{self, Impact, LIMITS, Topology, Value};
use regex::Regex;
use serde_json::Value as Json;

use super::compare::plain;
use super::difference::{Difference, Kind};
use super::management_model::{Policy, Queue, VirtualHost};

/// What a policy may be for, if it is to reach a quorum queue.
const REACHING: [&str; 3] = ["queues", "quorum_queues", "all"];

/// What policies change, and what of them could not be seen.
pub(super) fn differences(wanted: &Topology, shown: &VirtualHost) -> (Vec<Difference>, Vec<String>) {
    let mut differences = Vec::new();
    let (operators, not_seen) = Operators::new(shown);
    let policies = shown.policies.as_deref().unwrap_or_default();
    for queue in &wanted.queues {
        let Some(standing) = shown.queues.iter().find(|standing| standing.name == queue.name) else { continue };
        let own = policies.iter().filter(|policy| is_applied(policy, standing));
        differences.extend(own.flat_map(|policy| overridden(Kind::Policy, queue, policy)));
        let operators = operators.applied(&queue.name);
        differences.extend(operators.flat_map(|policy| overridden(Kind::OperatorPolicy, queue, policy)));
    }
    (differences, not_seen)
}

/// RabbitMQ tells which policy applies to a queue.
fn is_applied(policy: &Policy, queue: &Queue) -> bool {
    queue.policy.as_ref() == Some(&policy.name)
}

/// The policies of operators. Which of them applies to a queue RabbitMQ tells only with its statistics, which may be
/// switched off, so the patterns are tried here.
struct Operators<'a>(Vec<(Regex, &'a Policy)>);

impl<'a> Operators<'a> {
    /// Those that reach queues, and what could not be seen of policies.
    fn new(shown: &'a VirtualHost) -> (Self, Vec<String>) {
        let (mut readable, mut not_seen) = (Vec::new(), Vec::new());
        let reaching = |policy: &&Policy| REACHING.contains(&policy.apply_to.as_str());
        for policy in shown.operator_policies.iter().flatten().filter(reaching) {
            match Regex::new(&policy.pattern) {
                Ok(pattern) => readable.push((pattern, policy)),
                Err(_) => not_seen.push(format!("whether the operator policy {} reaches a queue of ours", policy.name)),
            }
        }
        if shown.policies.is_none() {
            not_seen.push("policies: only a user with the tag `policymaker` may see them".to_owned());
        }
        if shown.operator_policies.is_none() {
            not_seen.push("operator policies: only a user with the tag `administrator` may see them".to_owned());
        }
        (Self(readable), not_seen)
    }

    /// The one of the highest priority; of several with the same it is not said which.
    fn applied(&self, queue: &str) -> impl Iterator<Item = &'a Policy> {
        let matching: Vec<&Policy> =
            self.0.iter().filter(|(pattern, _)| pattern.is_match(queue)).map(|(_, policy)| *policy).collect();
        let highest = matching.iter().map(|policy| policy.priority).max();
        matching.into_iter().filter(move |policy| Some(policy.priority) == highest)
    }
}

fn overridden(kind: Kind, queue: &topology::Queue, policy: &Policy) -> Vec<Difference> {
    let differing = policy.definition.iter().filter_map(|(key, value)| {
        let breaks = harm(queue, key, value)?;
        let what = format!("makes {key} of {} {}", queue.name, plain(value));
        Some(Difference::new(kind, &policy.name, what, breaks))
    });
    differing.collect()
}

/// What it breaks that a policy says this of a queue; nothing, if the argument holds or means the same.
fn harm(queue: &topology::Queue, key: &str, value: &Json) -> Option<Impact> {
    let wanted = queue.arguments.iter().find(|argument| argument.name.strip_prefix("x-") == Some(key));
    let breaks = |otherwise| wanted.map_or(otherwise, |argument| argument.breaks);
    match key {
        "overflow" => (value.as_str() != Some("reject-publish")).then_some(Impact::Dropped),
        "dead-letter-exchange" => wanted.is_none().then_some(Impact::DeadLetters),
        // Nobody consumes a retry queue, so nothing there is delivered.
        "delivery-limit" if wanted.is_none() => None,
        _ => {
            let (_, otherwise) = LIMITS.into_iter().find(|(limit, _)| *limit == key)?;
            let holds = wanted.is_some_and(|argument| match argument.value {
                Value::Number(number) => value.as_i64().is_some_and(|limit| limit >= number),
                Value::Text(_) | Value::Switch(_) => false,
            });
            (!holds).then(|| breaks(otherwise))
        }
    }
}
