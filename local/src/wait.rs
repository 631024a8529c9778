//! Waiting for another program's progress, which sends us no signal: ask again at short intervals, up to a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The time between two questions: short beside a server's start, long beside the cost of asking.
const INTERVAL: Duration = Duration::from_millis(25);

/// Asks until there is an answer, at most `limit` long. `None` from `ask` means "not yet", from here "too late".
pub(crate) async fn until<T>(limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Some(answer) => return Some(answer),
            None if Instant::now() >= deadline => return None,
            None => sleep(INTERVAL).await,
        }
    }
}
