-- Events that a transaction wants told, if events are switched on. A table of their own: a flood of them must not stand
-- before the mails of the outbox. They are removed only after the broker's confirm.
create table event_outbox (
    -- Given under the member's lock, so that a member's events are numbered in the order in which they happened.
    event_no    bigint generated always as identity primary key,
    -- Whose: a member's events are published one after the other.
    member_id   text collate "C" not null,
    message_id  uuid not null,
    routing_key text not null,
    body        bytea not null,
    created_at  timestamptz not null
);
