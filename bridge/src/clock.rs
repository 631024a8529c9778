//! The bridge's time: the database's, which decides what is ahead. A bridge whose own clock is off goes on as if it
//! were right, and says so.

use std::sync::Arc;

use loyalty_store::Pool;
use loyalty_store::clock::{DatabaseClock, INTERVAL};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Asks the database for the time again and again. While it is away the last answer goes on.
pub(crate) async fn keep(clock: Arc<DatabaseClock>, pool: Pool, shutdown: CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        // Whoever reads from the database says that it is away.
        let _ = clock.ask(&pool).await;
    }
}
