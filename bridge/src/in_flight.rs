//! Which commands are being carried right now, so that a repeat that comes meanwhile is told so.
//!
//! It is a courtesy of one bridge to its clients. Two bridges do not know of each other, and need not: the command id
//! is what makes a command happen once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loyalty_store::rows::Key;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The commands under way. As many as requests may be, and the lines of the batches among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flying(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    keys: Mutex<HashSet<Key>>,
    /// Rung whenever one leaves.
    left: Notify,
}

impl Flying {
    /// Enters a command; none, if it is under way already.
    pub(crate) fn enter(&self, key: &Key) -> Option<Entered> {
        let is_new = self.0.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_new.then(|| Entered { flying: self.clone(), key: key.clone() })
    }

    /// Enters a command once it is not under way any more; none, if that takes longer than `patience`.
    pub(crate) async fn enter_within(&self, key: &Key, patience: Duration) -> Option<Entered> {
        let deadline = Instant::now() + patience;
        loop {
            // Listening begins before looking, so that nobody leaves unheard in between.
            let left = self.0.left.notified();
            if let Some(entered) = self.enter(key) {
                return Some(entered);
            }
            timeout_at(deadline, left).await.ok()?;
        }
    }
}

/// A command that is under way until this is dropped, however its request ends.
#[derive(Debug)]
pub(crate) struct Entered {
    flying: Flying,
    key: Key,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.flying.0.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.flying.0.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::{CommandId, MemberId};

    use super::*;

    #[test]
    fn a_command_is_under_way_once_and_until_its_request_ends() {
        let flying = Flying::default();
        let key = (MemberId::parse("ann").expect("a member id"), CommandId::fresh());
        let entered = flying.enter(&key);
        assert!(entered.is_some() && flying.enter(&key).is_none());
        assert!(flying.enter(&(key.0.clone(), CommandId::fresh())).is_some(), "others are not concerned");
        drop(entered);
        assert!(flying.enter(&key).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_enters_when_it_is_over_and_gives_up_in_time() {
        let flying = Flying::default();
        let key = (MemberId::parse("ann").expect("a member id"), CommandId::fresh());
        let patience = Duration::from_secs(1);
        let entered = flying.enter(&key);
        assert!(flying.enter_within(&key, patience).await.is_none());
        let (second, ()) = tokio::join!(flying.enter_within(&key, patience), async { drop(entered) });
        assert!(second.is_some());
    }
}
