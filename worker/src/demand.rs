//! When a queue is to be consumed: always, or in turns that somebody else gives and takes back.
//!
//! The consumer of a queue says in return when it has subscribed and when it has not. A turn that ends takes nothing from
//! what was delivered: the consumer finishes that, acknowledges it, and closes its channel.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::assignment::Turn;

/// Whether a queue is to be consumed now.
#[derive(Clone)]
pub(crate) struct Demand {
    turn: watch::Receiver<Option<Turn>>,
    subscribed: Arc<dyn Fn(bool) + Send + Sync>,
}

impl Demand {
    /// In the turns that are given. `subscribed` is called when the queue's consumer has subscribed, and when it has not
    /// any more.
    pub(crate) fn in_turns(turn: watch::Receiver<Option<Turn>>, subscribed: Arc<dyn Fn(bool) + Send + Sync>) -> Self {
        Self { turn, subscribed }
    }

    pub(crate) fn always() -> Self {
        // Its sender is gone: it never changes.
        Self { turn: watch::channel(Some(0)).1, subscribed: Arc::new(|_| ()) }
    }

    /// The turn that it is.
    pub(crate) fn turn(&self) -> Option<Turn> {
        *self.turn.borrow()
    }

    /// Returns when there is a turn.
    pub(crate) async fn begins(&self) {
        if self.turn.clone().wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when this turn is over, whether another has begun or not.
    pub(crate) async fn ends(&self, turn: Option<Turn>) {
        if self.turn.clone().wait_for(|now| *now != turn).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The consumer has subscribed, or has not any more.
    pub(crate) fn has_subscribed(&self, subscribed: bool) {
        (self.subscribed)(subscribed);
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand").field("turn", &self.turn()).finish_non_exhaustive()
    }
}
