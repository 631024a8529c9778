//! Which commands have a request under way, so that a repeat that comes meanwhile is told so.
//!
//! It is a courtesy of one bridge to its clients. Two bridges do not know of each other, and need not: the command id
//! is what makes a command happen once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loyalty_ledger::CommandKey;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::problem::{Code, Problem};

/// The commands under way. As many as requests may be, and the lines of the batches among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    keys: Mutex<HashSet<CommandKey>>,
    /// Notified whenever one leaves.
    left: Notify,
}

impl InFlight {
    /// Enters a command; a problem, if it is under way already.
    pub(crate) fn enter(&self, key: &CommandKey) -> Result<InFlightGuard, Problem> {
        self.try_enter(key).ok_or_else(already_in_flight)
    }

    /// Enters a command once it is not under way any more; a problem, if that takes longer than `max_wait`.
    pub(crate) async fn enter_within(&self, key: &CommandKey, max_wait: Duration) -> Result<InFlightGuard, Problem> {
        let deadline = Instant::now() + max_wait;
        loop {
            // Listening begins before looking, so that nobody leaves unheard in between.
            let left = self.0.left.notified();
            if let Some(guard) = self.try_enter(key) {
                return Ok(guard);
            }
            timeout_at(deadline, left).await.map_err(|_| already_in_flight())?;
        }
    }

    fn try_enter(&self, key: &CommandKey) -> Option<InFlightGuard> {
        let is_new = self.0.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_new.then(|| InFlightGuard { in_flight: self.clone(), key: key.clone() })
    }
}

fn already_in_flight() -> Problem {
    Problem::new(Code::InFlight, "a request about this command is under way; nothing was done for this one")
}

/// A command that is under way until this is dropped, however its request ends.
#[derive(Debug)]
pub(crate) struct InFlightGuard {
    in_flight: InFlight,
    key: CommandKey,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.0.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.in_flight.0.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::{CommandId, MemberId};

    use super::*;

    #[test]
    fn a_command_is_under_way_once_and_until_its_request_ends() {
        let in_flight = InFlight::default();
        let key = (MemberId::parse("ann").expect("a member id"), CommandId::fresh());
        let guard = in_flight.enter(&key);
        assert!(guard.is_ok());
        assert_eq!(in_flight.enter(&key).map(drop).map_err(|problem| problem.code()), Err("in_flight"));
        assert!(in_flight.enter(&(key.0.clone(), CommandId::fresh())).is_ok(), "others are not concerned");
        drop(guard);
        assert!(in_flight.enter(&key).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_enters_when_it_is_over_and_gives_up_in_time() {
        let in_flight = InFlight::default();
        let key = (MemberId::parse("ann").expect("a member id"), CommandId::fresh());
        let max_wait = Duration::from_secs(1);
        let guard = in_flight.enter(&key);
        assert!(in_flight.enter_within(&key, max_wait).await.is_err());
        let (second, ()) = tokio::join!(in_flight.enter_within(&key, max_wait), async { drop(guard) });
        assert!(second.is_ok());
    }
}
