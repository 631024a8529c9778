//! Waits until the commands of an import have a fate, chunk by chunk in the order of their publishing.

use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::Outcome;
use loyalty_store::read::{Fate, fates};
use loyalty_store::rows::Content;
use loyalty_store::{Pool, StoreError};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::warn;

use super::reader::{Item, key};

/// Chunks that are published and still without a fate: what an import keeps in memory when the workers are slower
/// than it is. Fifty thousand commands, some 20 MB.
pub(super) const CHUNKS_WAITING_MAX: usize = 50;

/// Between two looks at the same chunk. A batch of a worker takes about this long.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Without any progress for this long, the reader of a terminal wants to know why.
const STALLED: Duration = Duration::from_secs(10);

/// What became of the commands so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Fates {
    pub(super) applied: u64,
    pub(super) refused: u64,
    pub(super) parked: u64,
    pub(super) dead: u64,
}

impl Fates {
    pub(super) const fn all(&self) -> u64 {
        self.applied + self.refused + self.parked + self.dead
    }

    /// Counts a command whose fate is known. False: it has none yet.
    fn count(&mut self, fate: Option<&Fate>, item: &Item, since: Timestamp) -> bool {
        match fate {
            None => return false,
            // Another command used the id before, so this one became a dead letter.
            Some(Fate::Decided { content, .. }) if *content != Content::of(&item.command) => self.dead += 1,
            Some(Fate::Decided { receipt, .. }) => match receipt.outcome {
                Outcome::Applied => self.applied += 1,
                Outcome::Refused => self.refused += 1,
            },
            Some(Fate::Parked { content: Some(content) }) if *content != Content::of(&item.command) => self.dead += 1,
            Some(Fate::Parked { .. }) => self.parked += 1,
            // The letter of an earlier sending: what becomes of this one is not known yet.
            Some(Fate::DeadLetter { at, .. }) if *at < since => return false,
            Some(Fate::DeadLetter { .. }) => self.dead += 1,
        }
        true
    }
}

/// Follows every chunk until all of its commands have a fate, and tells of each change.
pub(super) async fn follow(
    pool: Pool,
    since: Timestamp,
    mut chunks: mpsc::Receiver<Vec<Item>>,
    told: watch::Sender<Fates>,
) -> Result<(), StoreError> {
    while let Some(mut waiting) = chunks.recv().await {
        let mut moved_at = Instant::now();
        while !waiting.is_empty() {
            let before = waiting.len();
            settle(&pool, since, &mut waiting, &told).await?;
            if waiting.len() < before {
                moved_at = Instant::now();
            } else if moved_at.elapsed() > STALLED {
                warn!(waiting = waiting.len(), "Nothing was applied for 10 seconds; does a worker run?");
                moved_at = Instant::now();
            }
            if !waiting.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
    Ok(())
}

/// Counts those that have a fate and leaves the others.
async fn settle(
    pool: &Pool,
    since: Timestamp,
    waiting: &mut Vec<Item>,
    told: &watch::Sender<Fates>,
) -> Result<(), StoreError> {
    let keys: Vec<_> = waiting.iter().map(key).collect();
    let known = fates(pool, &keys).await?;
    told.send_modify(|counts| waiting.retain(|item| !counts.count(known.get(&key(item)), item, since)));
    Ok(())
}
