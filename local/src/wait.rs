//! Waiting for another program's progress, which sends us no signal: ask again at short intervals, up to a deadline.
//! The servers here are started with it, and every test waits with it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for what should take a second: two cores run the servers, the workers and other tests as
/// well. Only a failing test waits it out.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two questions: short beside a server's start, long beside the cost of asking.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks until there is an answer. `None` means "not yet"; after [`PATIENCE`] the test fails for want of `what`.
pub async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    match within(PATIENCE, ask).await {
        Some(answer) => answer,
        None => panic!("waited {} seconds in vain: {what}", PATIENCE.as_secs()),
    }
}

/// The same with another deadline, and with `None` when it is over.
pub async fn within<T>(deadline: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        match ask().await {
            Some(answer) => return Some(answer),
            None if Instant::now() >= end => return None,
            None => sleep(INTERVAL).await,
        }
    }
}
