-- Which workers live, and which of them applies the commands of which partition.
--
-- Nothing that is true of a member rests on these rows: they only say who is to subscribe to which queue, and may be
-- lost or emptied at any time. Workers then register again and share the partitions out anew.

-- A row for each worker that lives. It writes its row every second, removes it when it is told to stop, and others
-- remove it when it has been silent for too long.
create table worker (
    worker_id     uuid primary key,
    -- The host and the process there.
    name          text not null,
    version       text not null,
    registered_at timestamptz not null,
    beat_at       timestamptz not null,
    -- Of each partition the number of the worker's subscription to its queue; 0: it has none. Each subscription has a
    -- number of its own, so that others see whether they have subscribed before or after it.
    subscriptions bigint[] not null check (cardinality(subscriptions) = 16),
    -- Commands that it decided in a second, lately.
    per_second    double precision not null,
    -- The age of the oldest command that it holds, in seconds; 0: it holds none.
    behind        double precision not null
) with (fillfactor = 50); -- rewritten every second, on its page

-- Whose each partition is. No foreign keys: a row outlives its owner until another worker takes the partition.
create table assignment (
    partition smallint primary key check (partition between 0 and 15),
    owner     uuid not null,
    -- Subscribes behind the owner, so that the broker gives it the queue as soon as the owner is gone.
    standby   uuid check (standby <> owner),
    -- Since when it is this owner's.
    since     timestamptz not null
);
