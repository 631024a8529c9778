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

use super::queue_quota::Placed;

/// What one channel owes answers for.
pub(super) struct Flight {
    channel: Channel,
    sent: HashMap<u64, Sent>,
    bell: mpsc::UnboundedSender<u64>,
    /// Numbers of messages that may have their answer. Bounded by what is in flight: each wakes a few times.
    rung: mpsc::UnboundedReceiver<u64>,
}

/// A message's number and the broker's answer, or why there will be none on this channel.
pub(super) type Landed = (u64, lapin::Result<Confirmation>);

/// A message that has no answer yet.
struct Sent {
    answer: BoxFuture<'static, lapin::Result<Confirmation>>,
    waker: Waker,
}

impl Flight {
    pub(super) fn new(channel: Channel) -> Self {
        let (bell, rung) = mpsc::unbounded_channel();
        Self { channel, sent: HashMap::new(), bell, rung }
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
    pub(super) fn send(&mut self, number: u64, message: &Arc<Placed>) {
        let waker = Waker::from(Arc::new(Bell { number, bell: self.bell.clone() }));
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
    /// A message's "returned" rings the bell of an earlier confirm before the message's own confirm can be seen.
    /// Going on until the bell is silent therefore puts it into the same list as that confirm, or an earlier list.
    pub(super) async fn landed(&mut self) -> Vec<Landed> {
        let mut landed = Vec::new();
        let mut next = self.rung.recv().await;
        while let Some(number) = next {
            landed.extend(self.poll(number));
            next = self.rung.try_recv().ok();
        }
        landed
    }

    fn poll(&mut self, number: u64) -> Option<Landed> {
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

fn answer(channel: Channel, message: Arc<Placed>) -> BoxFuture<'static, lapin::Result<Confirmation>> {
    Box::pin(async move {
        let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
        let (exchange, key) = (message.exchange.into(), message.routing_key.as_str().into());
        let properties = message.properties.clone();
        channel.basic_publish(exchange, key, options, &message.body, properties).await?.await
    })
}

/// Says which message to look at, in the order of the wakes.
struct Bell {
    number: u64,
    bell: mpsc::UnboundedSender<u64>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Nobody listens any more when the connection was given up.
        let _ = self.bell.send(self.number);
    }
}
