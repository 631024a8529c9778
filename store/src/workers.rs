//! The workers that live, and whose each partition is.
//!
//! It only keeps and changes the rows; who lives and who gets what is decided by the workers. Nothing about a member
//! rests on them.

use std::time::Duration;

use futures_util::try_join;
use jiff::Timestamp;
use loyalty_common::Partition;
use loyalty_common::partition::PARTITIONS;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::connection::Connection;
use crate::partition::number;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// The key of the advisory lock under which the assignment is changed. The bytes of "workers".
const LOCK_KEY: i64 = 0x0077_6f72_6b65_7273;

/// Of each partition the number of a worker's subscription; 0: it has none.
pub type Subscriptions = [i64; PARTITIONS as usize];

/// Who is to subscribe to a partition's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Who applies its commands.
    pub owner: Option<Uuid>,
    /// Who subscribes behind the owner.
    pub standby: Option<Uuid>,
}

/// The places of all partitions, in order.
pub type Places = [Place; PARTITIONS as usize];

/// What a worker says of itself every second.
#[derive(Clone, Debug)]
pub struct Heartbeat<'a> {
    pub worker_id: Uuid,
    /// Its host and its process there.
    pub name: &'a str,
    pub version: &'a str,
    pub subscriptions: Subscriptions,
    /// Commands that it decided in a second, lately.
    pub per_second: f64,
    /// Age of the oldest command that it holds, in seconds.
    pub behind: f64,
}

/// A worker's row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worker {
    pub worker_id: Uuid,
    /// Its host and its process there.
    pub name: String,
    pub version: String,
    /// Since when it is here.
    pub registered_at: Timestamp,
    /// Its last heartbeat.
    pub beat_at: Timestamp,
    /// From its first heartbeat to its last.
    #[serde(skip)]
    pub lived_for: Duration,
    /// How long ago that was, by the database's clock.
    #[serde(skip)]
    pub silent_for: Duration,
    /// To what it has subscribed.
    #[serde(skip)]
    pub subscriptions: Subscriptions,
    pub per_second: f64,
    pub behind: f64,
}

/// What the rows say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workers {
    /// By id.
    pub workers: Vec<Worker>,
    pub places: Places,
}

/// What is to be changed.
#[derive(Clone, Debug, Default)]
pub struct Reassignment {
    /// Whose rows are to be removed, unless they have said something since the heartbeat given here.
    pub gone: Vec<(Uuid, Timestamp)>,
    pub places: Places,
}

const BEAT: &str = "
    insert into worker (worker_id, name, version, subscriptions, per_second, behind, registered_at, beat_at)
    values ($1, $2, $3, $4, $5, $6, clock_timestamp(), clock_timestamp())
    on conflict (worker_id) do update set
        subscriptions = excluded.subscriptions, per_second = excluded.per_second, behind = excluded.behind,
        beat_at = excluded.beat_at";

const WORKERS: &str = "
    select worker_id, name, version, registered_at, beat_at, subscriptions, per_second, behind,
           extract(epoch from beat_at - registered_at)::float8 as lived_for,
           extract(epoch from clock_timestamp() - beat_at)::float8 as silent_for
    from worker order by worker_id";

const PLACES: &str = "select partition, owner, standby from assignment order by partition";

const REMOVE: &str = "delete from worker where worker_id = $1 and beat_at = $2";

const LEAVE: &str = "delete from worker where worker_id = $1";

const PUT: &str = "
    insert into assignment as known (partition, owner, standby, since) values ($1, $2, $3, now())
    on conflict (partition) do update set
        owner = excluded.owner, standby = excluded.standby,
        since = case when known.owner = excluded.owner then known.since else excluded.since end";

/// Writes a worker's row and reads all, in one flight.
pub async fn beat(pool: &Pool, heartbeat: &Heartbeat<'_>) -> Result<Workers, StoreError> {
    let Heartbeat { worker_id, name, version, subscriptions, per_second, behind } = heartbeat;
    let client = pool.get().await?;
    let beat = client.prepare_cached(BEAT).await?;
    let (workers, places) = (client.prepare_cached(WORKERS).await?, client.prepare_cached(PLACES).await?);
    let subscriptions = subscriptions.as_slice();
    let values: [&(dyn ToSql + Sync); 6] = [worker_id, name, version, &subscriptions, per_second, behind];
    let (_, workers, places) =
        try_join!(client.execute(&beat, &values), client.query(&workers, &[]), client.query(&places, &[]))?;
    all(&workers, &places)
}

/// Reads all rows.
pub async fn workers(pool: &Pool) -> Result<Workers, StoreError> {
    let client: Connection = pool.get().await?;
    let (workers, places) = try_join!(client.query(WORKERS, &[]), client.query(PLACES, &[]))?;
    all(&workers, &places)
}

/// Changes the assignment to what `decide` makes of it, alone. None: another worker is at it just now, or there is
/// nothing to change.
pub async fn reassign(
    pool: &Pool,
    decide: impl FnOnce(&Workers) -> Option<Reassignment> + Send,
) -> Result<Option<Workers>, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let lock = transaction.query_one("select pg_try_advisory_xact_lock($1)", &[&LOCK_KEY]).await?;
    if !lock.get::<_, bool>(0) {
        transaction.roll_back().await?;
        return Ok(None);
    }
    // Read under the lock: what another worker has just changed is known.
    let (workers, places) = try_join!(transaction.query(WORKERS, &[]), transaction.query(PLACES, &[]))?;
    let mut all = all(&workers, &places)?;
    let Some(Reassignment { gone, places }) = decide(&all) else {
        transaction.roll_back().await?;
        return Ok(None);
    };
    for (worker_id, beat_at) in &gone {
        transaction.execute(REMOVE, &[worker_id, beat_at]).await?;
    }
    for (partition, (place, before)) in Partition::all().zip(places.iter().zip(&all.places)) {
        // Without an owner there is nothing to say; who is gone is known by having no row.
        if let (true, Some(owner)) = (place != before, place.owner) {
            transaction.execute(PUT, &[&number(partition), &owner, &place.standby]).await?;
        }
    }
    transaction.commit().await?;
    all.workers.retain(|worker| !gone.iter().any(|(id, _)| *id == worker.worker_id));
    all.places = places;
    Ok(Some(all))
}

/// Removes a worker's row: it stops. Others take its partitions.
pub async fn leave(pool: &Pool, worker_id: Uuid) -> Result<(), StoreError> {
    pool.get().await?.execute(LEAVE, &[&worker_id]).await?;
    Ok(())
}

fn all(workers: &[Row], places: &[Row]) -> Result<Workers, StoreError> {
    let mut all = Workers { workers: workers.iter().map(worker).collect::<Result<_, _>>()?, ..Workers::default() };
    for row in places {
        let place = usize::try_from(row.get::<_, i16>("partition")).ok().and_then(|at| all.places.get_mut(at));
        let place = place.ok_or(StoreError::UnexpectedValue { column: "assignment.partition" })?;
        *place = Place { owner: row.get("owner"), standby: row.get("standby") };
    }
    Ok(all)
}

fn worker(row: &Row) -> Result<Worker, StoreError> {
    let subscriptions: Vec<i64> = row.get("subscriptions");
    let unexpected = |_| StoreError::UnexpectedValue { column: "worker.subscriptions" };
    // A clock that was set back makes a time negative; that is none.
    let time = |column: &str| Duration::try_from_secs_f64(row.get(column)).unwrap_or_default();
    Ok(Worker {
        worker_id: row.get("worker_id"),
        name: row.get("name"),
        version: row.get("version"),
        registered_at: row.get("registered_at"),
        beat_at: row.get("beat_at"),
        lived_for: time("lived_for"),
        silent_for: time("silent_for"),
        subscriptions: subscriptions.try_into().map_err(unexpected)?,
        per_second: row.get("per_second"),
        behind: row.get("behind"),
    })
}
