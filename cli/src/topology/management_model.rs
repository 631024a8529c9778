//! What the management API shows, as far as we look at it. Names are RabbitMQ's.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Everything that stands in a virtual host.
#[derive(Clone, Debug, Default)]
pub(super) struct VirtualHost {
    /// The server's.
    pub(super) version: String,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) queues: Vec<Queue>,
    pub(super) bindings: Vec<Binding>,
    /// None: our user may not see them.
    pub(super) policies: Option<Vec<Policy>>,
    /// None: our user may not see them.
    pub(super) operator_policies: Option<Vec<Policy>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Exchange {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    /// Takes nothing from publishers.
    #[serde(default)]
    pub(super) internal: bool,
    #[serde(default)]
    pub(super) arguments: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    #[serde(default)]
    pub(super) arguments: Map<String, Value>,
    /// The name of the policy that applies to it.
    #[serde(default)]
    pub(super) policy: Option<String>,
    /// `running`, unless something is wrong.
    #[serde(default)]
    pub(super) state: Option<String>,
    /// The node that leads it; only quorum queues have one.
    #[serde(default)]
    pub(super) leader: Option<String>,
    /// The nodes that have a copy.
    #[serde(default)]
    pub(super) members: Option<Vec<String>>,
    /// Those of them that run.
    #[serde(default)]
    pub(super) online: Option<Vec<String>>,
    /// All that it holds: ready, delivered, and expired but not yet taken by where it goes. Counted by the leader
    /// every five seconds; 0 also when it has not counted yet.
    #[serde(default)]
    pub(super) messages: Option<u64>,
}

/// A way from an exchange to a queue or another exchange.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Binding {
    /// The exchange; the default one has no name.
    pub(super) source: String,
    pub(super) destination: String,
    /// `queue` or `exchange`.
    pub(super) destination_type: String,
    pub(super) routing_key: String,
}

/// A policy, or one of an operator.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Policy {
    pub(super) name: String,
    /// A regular expression of the names it applies to.
    pub(super) pattern: String,
    /// Queues of which kind, or exchanges.
    #[serde(rename = "apply-to")]
    pub(super) apply_to: String,
    pub(super) definition: Map<String, Value>,
    #[serde(default)]
    pub(super) priority: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Overview {
    pub(super) rabbitmq_version: String,
}

impl Queue {
    /// Whether a majority of its nodes run and one of them leads it. A queue of no members is of another kind, and its
    /// state tells.
    pub(super) fn is_led(&self) -> bool {
        let (members, online) =
            (self.members.as_deref().unwrap_or_default(), self.online.as_deref().unwrap_or_default());
        if members.is_empty() {
            return self.state.as_deref().is_none_or(|state| state == "running");
        }
        let has_majority = online.len() * 2 > members.len();
        has_majority && self.leader.as_ref().is_some_and(|leader| online.contains(leader))
    }
}
