//! What breaks where something on the broker is not as it should be: a closed set of sentences, so that the same fault
//! is told in the same words wherever it is found.

crate::string_enum! {
    /// What a difference breaks.
    pub enum Impact {
        /// A queue or exchange is not there.
        Missing = "what is published there is refused or goes astray",
        /// A binding is not there.
        Unbound = "what is published with that key is refused, or ends among the unrouted",
        /// A binding leads from one of our exchanges to somewhere else.
        Copied = "a copy of each message goes there too, and publishers are refused while it takes none",
        /// A binding or exchange leads to one of our queues that should not.
        Intruding = "messages come in that were not published as the contract says",
        /// No single active consumer.
        Order = "commands of one member may be applied out of their order",
        /// Not replicated, or not durable.
        Perishable = "messages do not survive the loss or the restart of a node",
        /// Another delivery limit.
        DeliveryLimit = "messages are given up too early, or one that kills its worker comes for ever",
        /// Another overflow: what a policy may say over the argument.
        Dropped = "messages are dropped when the queue is full, and dead letters may be lost on their way",
        /// A higher or no bound, or a lower one.
        Bound = "publishers are refused too early, or the broker's disk fills and stops everybody",
        /// A time to live where none belongs.
        Expiring = "messages are given up before anybody took them",
        /// Another time to live of a retry queue.
        RetrySchedule = "emails are tried again at other times than the retry schedule says",
        /// A retry queue that leads elsewhere.
        NeverBack = "emails that wait for their next attempt may never come back",
        /// A crash net that leads elsewhere.
        DeadLetters = "what is given up is dropped or moved instead of kept as a dead letter",
        /// No alternate exchange.
        Unrouted = "what no queue takes is lost instead of kept",
        /// The queue itself ends.
        QueueGoes = "the queue is deleted with its messages when nobody uses it for a while",
        /// Deliveries are taken back.
        TakenBack = "deliveries are taken back from a worker that is still at them",
        /// No majority or no leader.
        Halted = "it takes and delivers nothing until more of its nodes run",
        /// An argument that nobody wants.
        Unwanted = "RabbitMQ does what it says, or ignores a name that it does not know, and what was meant is missing",
    }
}

/// Limits that an argument `x-...` or a policy can set on a queue, and what breaks where one is lower than it should
/// be, or set where none should be. RabbitMQ takes the lower of the two, and of an operator's policy.
pub const LIMITS: [(&str, Impact); 6] = [
    ("max-length", Impact::Bound),
    ("max-length-bytes", Impact::Bound),
    ("message-ttl", Impact::Expiring),
    ("delivery-limit", Impact::DeliveryLimit),
    ("expires", Impact::QueueGoes),
    ("consumer-timeout", Impact::TakenBack),
];
