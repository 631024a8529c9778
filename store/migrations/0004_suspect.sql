-- What is about to be applied alone because its worker may have died of it. Written outside of the transaction that
-- applies it, so that the note outlives the worker. Commands of a queue are taken in order, so the last note of each
-- queue is enough, and the table never has more rows than there are queues.
create table suspect (
    queue   text primary key,
    -- Recognises the message, as dead_letter.digest does.
    digest  bytea not null,
    -- The process that was the last to try.
    worker  uuid not null,
    -- How many processes tried, one after the other.
    workers integer not null check (workers >= 1)
);
