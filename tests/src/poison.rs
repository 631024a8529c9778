//! A command that kills its worker each time it is applied: the worker stands still in the middle of its transaction,
//! and there the test kills it. Nothing in the product knows of it; a trigger in the test's database does.

use crate::database_lock::DatabaseLock;
use crate::program::Program;
use crate::world::World;
use loyalty_local::wait::eventually;

/// The field `reason` of a command that kills.
pub const POISON: &str = "poison";

/// A transaction that writes a poisoned row stands still until the lock of that number is free.
const STAND_STILL: &str = "
    create function stand_still() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(13); return new; end $$;
    create trigger poison before insert on ledger for each row
        when (new.reason = 'poison') execute function stand_still()";

/// The sessions that stand there.
const STANDING_STILL: &str = "
    from pg_stat_activity join pg_locks using (pid)
    where datname = current_database() and locktype = 'advisory' and objid = 13 and not granted";

/// A mailer's claim on an email outlasts its process by two and a half minutes. A test makes that time pass.
const LEASES_END: &str = "update email set due_at = now() where state = 'sending'";

/// The poison at work, until it is cured.
#[derive(Debug)]
pub struct Poison(DatabaseLock);

impl World {
    /// From now on a worker dies of a command whose reason is [`POISON`], as long as somebody [keeps one
    /// alive](World::outlive).
    pub async fn poison(&self) -> Poison {
        self.execute(STAND_STILL).await.expect("a trigger");
        Poison(self.lock("select pg_advisory_xact_lock(13)").await)
    }

    /// Kills the worker whenever it applies the poison and starts another, until `done`. Answers the one that lives
    /// and how many died.
    pub async fn outlive(&self, mut worker: Program, done: impl AsyncFn() -> bool) -> (Program, u32) {
        let standing = format!("(select 1 {STANDING_STILL}) as standing");
        let dies = async || match self.count(&standing).await {
            0 => done().await.then_some(false),
            _ => Some(true),
        };
        let mut dead = 0;
        while eventually("the worker dies of the poison, or has outlived it", dies).await {
            worker.kill().await;
            // The server would go on with what it was sent, and commit for a worker that is gone. It ends a session
            // in its own time, and the next worker must not be taken for this one.
            self.query(&format!("select pg_terminate_backend(pid) {STANDING_STILL}"), &[]).await;
            eventually("the session is gone", async || (self.count(&standing).await == 0).then_some(())).await;
            self.time_passes_for_emails().await;
            worker = self.worker().await;
            dead += 1;
        }
        (worker, dead)
    }

    /// What a killed mailer was sending is given up by now.
    pub async fn time_passes_for_emails(&self) {
        self.execute(LEASES_END).await.expect("its owner can");
    }
}

impl Poison {
    /// The new release that fixes it.
    pub async fn cure(self, world: &World) {
        world.execute("drop trigger poison on ledger").await.expect("its owner can");
        self.0.release().await;
    }
}
