//! Messages on the wire: what was sent on one channel and has no answer yet.
//!
//! It hands answers out in the order in which the broker gave them, never before a "returned" that belongs to them.
//! lapin attaches a returned message to the *next* confirm, whichever message that is for, so the two must be told
//! apart by the reader; a pool of futures that yields in an order of its own would show them too late.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::mpsc;

use super::queue_quota::AdmittedMessage;

/// What one channel owes answers for.
pub(super) struct PendingConfirms {
    channel: Channel,
    sent: HashMap<u64, Sent>,
    wakes: mpsc::UnboundedSender<u64>,
    /// Numbers of messages that may have their answer. Bounded by what is in flight: each wakes a few times.
    woken: mpsc::UnboundedReceiver<u64>,
}

/// A message's number and the broker's answer, or why there will be none on this channel.
pub(super) type Answered = (u64, lapin::Result<Confirmation>);

/// A message that has no answer yet.
struct Sent {
    answer: BoxFuture<'static, lapin::Result<Confirmation>>,
    waker: Waker,
}

impl PendingConfirms {
    pub(super) fn new(channel: Channel) -> Self {
        let (wakes, woken) = mpsc::unbounded_channel();
        Self { channel, sent: HashMap::new(), wakes, woken }
    }

    /// How many messages have no answer yet.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether the broker closed the channel, or it was lost.
    pub(super) fn is_over(&self) -> bool {
        !self.channel.status().connected()
    }

    /// Sends a message.
    pub(super) fn send(&mut self, number: u64, message: &Arc<AdmittedMessage>) {
        let waker = Waker::from(Arc::new(ConfirmWaker { number, wakes: self.wakes.clone() }));
        let mut answer = answer(self.channel.clone(), Arc::clone(message));
        // lapin queues the frames when the future is first polled. It happens here, so that messages go out in the
        // order of the calls.
        if let Poll::Ready(early) = answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            answer = Box::pin(std::future::ready(early));
            waker.wake_by_ref();
        }
        self.sent.insert(number, Sent { answer, waker });
    }

    /// Waits for answers and returns all that are there; none, if it was woken too early. Nothing is lost when the
    /// wait is given up.
    ///
    /// A message's "returned" wakes an earlier confirm before the message's own confirm can be seen.
    /// Going on until nothing is woken therefore puts it into the same list as that confirm, or an earlier list.
    pub(super) async fn answered(&mut self) -> Vec<Answered> {
        let mut answered = Vec::new();
        let mut next = self.woken.recv().await;
        while let Some(number) = next {
            answered.extend(self.poll(number));
            next = self.woken.try_recv().ok();
        }
        answered
    }

    fn poll(&mut self, number: u64) -> Option<Answered> {
        let sent = self.sent.get_mut(&number)?;
        match sent.answer.as_mut().poll(&mut Context::from_waker(&sent.waker)) {
            Poll::Ready(answer) => {
                self.sent.remove(&number);
                Some((number, answer))
            }
            Poll::Pending => None,
        }
    }
}

fn answer(channel: Channel, message: Arc<AdmittedMessage>) -> BoxFuture<'static, lapin::Result<Confirmation>> {
    Box::pin(async move {
        let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
        let (exchange, key) = (message.exchange.into(), message.routing_key.as_str().into());
        let properties = message.properties.clone();
        #[expect(clippy::disallowed_methods, reason = "the one place that publishes; the confirm is awaited with it")]
        channel.basic_publish(exchange, key, options, &message.body, properties).await?.await
    })
}

/// Says which message to look at, in the order of the wakes.
struct ConfirmWaker {
    number: u64,
    wakes: mpsc::UnboundedSender<u64>,
}

impl Wake for ConfirmWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Nobody listens any more when the connection was given up.
        let _ = self.wakes.send(self.number);
    }
}
