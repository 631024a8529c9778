//! A delivery of the command queues, read: either a command that came the way the contract says, or a message to be
//! set aside with the reason.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::message::Delivery;
use loyalty_common::decode::{DecodeError, decode};
use loyalty_common::envelope::TraceContext;
use loyalty_common::traces::{self, Kind, Span, messaging};
use loyalty_common::{Command, CommandId, Partition, command, topology};
use loyalty_ledger::BatchRequest;
use loyalty_store::dead_letters::{NewDeadLetter, Reason, Unusable};

use crate::dead_letter::dead_letter;
use crate::headers;
use crate::queue_consumer::DeliveryGuard;

/// One delivery on its way through the worker.
#[derive(Debug)]
pub struct Message {
    pub content: Content,
    /// How it came, for a dead letter and for its acknowledgement.
    pub delivery: Delivery,
    /// The queue it came from.
    pub partition: Partition,
    /// When it was published, by its sender's clock; when it came, if nobody says.
    pub since: SystemTime,
    /// Whether it may have been decided before: the broker delivers it again, or its batch is tried again.
    pub repeated: bool,
    /// How it is told of in its trace: only where it comes from, until a batch processor takes it.
    pub span: Span,
    /// What it has to do with its channel; nothing, if no consumer of ours delivered it.
    pub(crate) guard: Option<DeliveryGuard>,
}

/// What a delivery says.
#[derive(Debug)]
pub enum Content {
    Command(Command),
    /// Something that cannot be used, and why.
    Unusable(Unusable),
}

impl Message {
    pub fn read(delivery: Delivery, partition: Partition) -> Self {
        let content = match read(&delivery, partition) {
            Ok(command) => Content::Command(command),
            Err(unusable) => Content::Unusable(unusable),
        };
        let since = published_at(&delivery.properties).unwrap_or_else(SystemTime::now);
        let span = Span::passing(TraceContext::of(&delivery.properties));
        Self { content, since, repeated: delivery.redelivered, delivery, partition, span, guard: None }
    }

    /// The same, held on behalf of its channel until it is settled or dropped.
    pub(crate) fn held_by(self, guard: DeliveryGuard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// Whether it can still be acknowledged. If not, its channel is gone and it comes again on another.
    pub(crate) fn can_be_settled(&self) -> bool {
        !self.delivery.acker.poisoned()
    }

    /// Tells the broker that it, and with `multiple` all that its channel delivered before, is done with. False: its
    /// channel is gone, and it comes again.
    pub(crate) async fn acknowledge(&self, multiple: bool) -> bool {
        match &self.guard {
            Some(guard) => guard.acknowledge(&self.delivery.acker, multiple).await,
            None => true,
        }
    }

    /// The trace that it is part of, and where in it what follows from it belongs.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.span.context()
    }

    /// The trace that it is part of, for logs.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace().map(TraceContext::trace_id)
    }

    /// The work on it begins, unless it has begun and was deferred. It ends with its acknowledgement.
    pub(crate) fn begin(&mut self) {
        if !traces::are_recorded() || self.span.is_recorded() {
            return;
        }
        let came = self.trace().cloned();
        self.span = Span::entering(Kind::Consumer, format_args!("process {}", topology::COMMANDS), came);
        if !self.span.is_recorded() {
            return;
        }
        messaging::processing(&mut self.span, &self.delivery, &self.partition.queue());
        if let Content::Command(command) = &self.content {
            self.span.says("loyalty.member.id", &command.member_id.masked());
            self.span.says("loyalty.command.id", &command.command_id);
            self.span.says("loyalty.command.type", &command.command_type());
        }
    }

    /// How often the broker delivered it before and got no acknowledgement.
    pub fn deliveries_before(&self) -> i64 {
        headers::integer(&self.delivery.properties, "x-delivery-count").unwrap_or(0)
    }

    /// The message as a dead letter.
    pub fn dead_letter(&self, reason: Reason, error: String) -> NewDeadLetter {
        // What cannot be used may still say whom it is about: it came astray, or the database refused it.
        let command = match &self.content {
            Content::Command(command) => Some(command.clone()),
            Content::Unusable(_) => decode(&self.delivery.data).ok(),
        };
        let command = command.as_ref();
        NewDeadLetter {
            member_id: command.map(|command| command.member_id.to_string()),
            command_id: command.map(|command| command.command_id.uuid()),
            command_type: command.map(|command| command.command_type().to_string()),
            repeated: self.repeated,
            ..dead_letter(&self.delivery, self.partition.queue(), reason, error)
        }
    }
}

/// What a batch needs of the database.
pub(crate) fn request(messages: &[Message]) -> BatchRequest<'_> {
    BatchRequest::of(messages.iter().filter_map(|message| match &message.content {
        Content::Command(command) => Some(command),
        Content::Unusable(_) => None,
    }))
}

fn read(delivery: &Delivery, partition: Partition) -> Result<Command, Unusable> {
    check_type(&delivery.properties)?;
    let command = decode(&delivery.data).map_err(|error| unreadable(&error, &delivery.properties))?;
    check_partition(&command, partition)?;
    check_id(&command, &delivery.properties)?;
    Ok(command)
}

/// A compressed body whose first bytes do not give it away is told by its property.
fn unreadable(error: &DecodeError, properties: &BasicProperties) -> Unusable {
    /// What publishers compress with; anything else may be a text of theirs, and is not quoted.
    const COMPRESSIONS: [&str; 5] = ["br", "compress", "deflate", "gzip", "zstd"];
    let Unusable { reason, error: text } = Unusable::from(error);
    let encoding = properties.content_encoding().as_ref().map(|encoding| encoding.as_str().to_ascii_lowercase());
    let compression = COMPRESSIONS.into_iter().find(|known| encoding.as_deref() == Some(known));
    let error = match (reason, compression) {
        (Reason::Malformed, Some(compression)) if !text.contains("uncompressed") => {
            format!("{text}; its `content_encoding` is {compression}: send it uncompressed")
        }
        (_, _) => text,
    };
    Unusable { reason, error }
}

/// A publisher that leaves the property out is understood; one that names another version means it.
fn check_type(properties: &BasicProperties) -> Result<(), Unusable> {
    match properties.kind() {
        Some(kind) if kind.as_str() != command::MESSAGE_TYPE => Err(Unusable {
            reason: Reason::UnknownVersion,
            error: format!("the property `type` must be {}", command::MESSAGE_TYPE),
        }),
        Some(_) | None => Ok(()),
    }
}

/// A member's commands on two queues would be applied in no order.
fn check_partition(command: &Command, partition: Partition) -> Result<(), Unusable> {
    let expected = Partition::of(&command.member_id);
    if expected == partition {
        return Ok(());
    }
    Err(Unusable {
        reason: Reason::Misrouted,
        error: format!("the routing key must be {expected}: crc32(member_id) modulo 16 in two digits"),
    })
}

fn check_id(command: &Command, properties: &BasicProperties) -> Result<(), Unusable> {
    let same = |id: &str| CommandId::parse(id).is_ok_and(|id| id == command.command_id);
    match properties.message_id() {
        Some(id) if !same(id.as_str()) => Err(Unusable {
            reason: Reason::IdMismatch,
            error: "the property `message_id` must be the command_id".to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// What the sender's clock said, to the second. A time of 0 is a property that was left at its default.
fn published_at(properties: &BasicProperties) -> Option<SystemTime> {
    let seconds = properties.timestamp().filter(|seconds| *seconds > 0)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
