-- Members, their ledger, and what waits for them.
--
-- Keys are collated "C": ids are ASCII, bytes compare faster than any language's rules, and every part of the system
-- sorts members the same way, which is what keeps two workers from locking each other out.

create table member (
    member_id   text collate "C" primary key check (octet_length(member_id) between 1 and 64),
    -- 'unenrolled': somebody a command named who was never enrolled. The row exists to be locked.
    status      text not null check (status in ('unenrolled', 'active', 'exited')),
    -- Which membership this is: 0 before the first, one more for each enrolment.
    epoch       integer not null check (epoch >= 0),
    -- Lifetime points for each reward, fixed at enrolment so that a change of the programme never rewrites what a
    -- member was promised. Null: no rewards.
    milestone   bigint check (milestone > 0),
    balance     bigint not null check (balance >= 0),
    -- Points earned in this membership. Spending does not lower it.
    lifetime    bigint not null check (lifetime >= balance),
    -- The seq of the member's last ledger row; 0 when there is none.
    last_seq    bigint not null check (last_seq >= 0),
    -- Forgotten at exit.
    email       text,
    name        text,
    enrolled_at timestamptz,
    updated_at  timestamptz not null,
    check (status = 'active' or balance = 0),
    check ((status = 'unenrolled') = (epoch = 0))
) with (fillfactor = 80); -- room on the page, so that a new balance rewrites no index

create table ledger (
    member_id     text collate "C" not null,
    seq           bigint not null check (seq >= 1),
    command_id    uuid not null,
    epoch         integer not null,
    type          text not null,
    outcome       text not null check (outcome in ('applied', 'refused')),
    code          text,
    points        bigint check (points between 1 and 1000000000000),
    delta         bigint not null,
    balance_after bigint not null check (balance_after >= 0),
    occurred_at   timestamptz not null,
    recorded_at   timestamptz not null,
    reason        text,
    source_ref    text,
    -- What an enrolment carried, to tell a repeat from a conflict without keeping personal data for ever.
    email_sha256  bytea,
    name_sha256   bytea,
    primary key (member_id, seq),
    unique (member_id, command_id),
    check ((outcome = 'refused') = (code is not null)),
    check (outcome = 'applied' or delta = 0)
);

create function ledger_is_final() returns trigger language plpgsql as $$
begin
    raise exception 'ledger rows never change and are never deleted';
end
$$;

create trigger ledger_is_final before update or delete on ledger
    for each row execute function ledger_is_final();
create trigger ledger_is_not_truncated before truncate on ledger
    for each statement execute function ledger_is_final();

-- Points for or from somebody who is not enrolled yet. The enrolment applies them in the order of parked_id.
create table parked (
    parked_id  bigint generated always as identity primary key,
    member_id  text collate "C" not null,
    command_id uuid not null,
    body       bytea not null,
    parked_at  timestamptz not null,
    unique (member_id, command_id)
);

create table reward (
    member_id  text collate "C" not null,
    epoch      integer not null,
    -- The how-manyth milestone of the membership: 1, 2, 3, ...
    number     bigint not null check (number >= 1),
    -- The ledger row that crossed it.
    seq        bigint not null,
    -- The lifetime sum that was crossed.
    points     bigint not null,
    title      text not null,
    granted_at timestamptz not null,
    primary key (member_id, epoch, number)
);

-- The one mail of a reward.
create table email (
    -- Derived from the reward, and the mail's Message-ID with it.
    email_id    uuid primary key,
    member_id   text collate "C" not null,
    epoch       integer not null,
    number      bigint not null,
    -- Where it goes, as known when the reward was granted. Null: the member gave no address.
    recipient   text,
    name        text,
    state       text not null check (state in
        ('no_address', 'queued', 'sending', 'retrying', 'sent', 'unknown', 'dead')),
    -- How often a mail server was asked to take it.
    attempts    integer not null default 0 check (attempts >= 0),
    -- While 'sending': until when its mailer may still be at it. While 'retrying': when the next attempt is due.
    due_at      timestamptz,
    -- What the mail server said last, or why it could not be asked.
    reply       text,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    unique (member_id, epoch, number),
    check ((state = 'no_address') = (recipient is null))
);
create index email_unsettled on email (state, due_at) where state not in ('sent', 'no_address');

-- Messages that a transaction wants published. The relay removes a row only after the broker's confirm.
create table outbox (
    outbox_id   bigint generated always as identity primary key,
    exchange    text not null,
    routing_key text not null,
    message_id  text not null,
    type        text not null,
    body        bytea not null,
    created_at  timestamptz not null
);

-- Messages that nobody could use, kept byte for byte for an operator.
create table dead_letter (
    dead_letter_id bigint generated always as identity primary key,
    -- The queue it came from.
    source       text not null,
    reason       text not null,
    error        text not null,
    member_id    text collate "C",
    command_id   uuid,
    command_type text,
    email_id     uuid,
    exchange     text not null,
    routing_key  text not null,
    headers      jsonb not null,
    body         bytea not null,
    -- SHA-256 of source, message id and body: recognises a redelivery.
    digest       bytea not null,
    attempts     integer not null check (attempts >= 1),
    first_at     timestamptz not null,
    last_at      timestamptz not null,
    state        text not null default 'open' check (state in ('open', 'replayed', 'discarded'))
);
create index dead_letter_digest on dead_letter (digest);
create index dead_letter_member on dead_letter (member_id, command_id);
create index dead_letter_open on dead_letter (dead_letter_id) where state = 'open';
