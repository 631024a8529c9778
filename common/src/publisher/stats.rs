//! What a publisher has under way and how often it lost its broker, for whoever watches over it.
//!
//! Numbers only, written by the publisher's task and read by anybody. Nothing is decided by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::watch;

use super::ConnectionState;

/// A view on a publisher that does not keep it open. Clones show the same.
#[derive(Clone, Debug)]
pub struct PublisherStats {
    pub(super) counts: Arc<Counters>,
    pub(super) link: watch::Receiver<ConnectionState>,
}

impl PublisherStats {
    /// Messages handed over whose confirms are missing, at most the window.
    pub fn unconfirmed(&self) -> usize {
        self.counts.unconfirmed.load(Ordering::Relaxed)
    }

    /// How often a connection broke or could not be had. Each is followed by another attempt.
    pub fn reconnects(&self) -> u64 {
        self.counts.breaks.load(Ordering::Relaxed)
    }

    /// Whether the broker takes messages now.
    pub fn is_up(&self) -> bool {
        *self.link.borrow() == ConnectionState::Up
    }
}

/// What the publisher's task writes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    unconfirmed: AtomicUsize,
    breaks: AtomicU64,
}

impl Counters {
    pub(super) fn unconfirmed_are(&self, messages: usize) {
        self.unconfirmed.store(messages, Ordering::Relaxed);
    }

    pub(super) fn broke(&self) {
        self.breaks.fetch_add(1, Ordering::Relaxed);
    }
}
