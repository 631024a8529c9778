-- Members, their ledger, what waits for them, what is sent on their behalf, and what could not be used.
--
-- Every table that grows with members is keyed by `partition` first: the number of the command queue on which the
-- member's commands travel, CRC-32 of the id modulo 16. A statement on the path of commands and emails names the one
-- partition that it is about, so that a distributed PostgreSQL can keep each partition on one node. Senders compute the
-- number and so does this program; the database only stores it.
--
-- Ids are collated "C": they are ASCII, bytes compare faster than any language's rules, and every part of the system
-- sorts members the same way, by (partition, member_id), which keeps two workers from locking each other out.

create table member (
    -- The columns of one width first: none of their bytes are lost to alignment. So it is in `ledger`.
    partition   smallint not null check (partition between 0 and 15),
    -- Which membership this is: 0 before the first, one more for each enrolment.
    epoch       integer not null check (epoch >= 0),
    balance     bigint not null check (balance >= 0),
    -- Points that open holds set aside. They are not in the balance.
    held        bigint not null default 0 check (held >= 0),
    -- Points taken back that were spent already. Whatever comes in pays it first.
    debt        bigint not null default 0 check (debt >= 0),
    -- Points earned in this membership, less those that were reversed. Spending does not lower it.
    lifetime    bigint not null check (lifetime >= 0),
    -- Place for what later rules keep of a member: qualifying, tier.
    -- The seq of the member's last ledger row; 0 when there is none.
    last_seq    bigint not null check (last_seq >= 0),
    updated_at  timestamptz not null,
    -- Lifetime points for each reward, fixed at enrolment so that a change of the programme never rewrites what a
    -- member was promised. Null: no rewards.
    milestone   bigint check (milestone > 0),
    enrolled_at timestamptz,
    -- The highest that lifetime was in this membership, where reversals have lowered it since. Null: what it is.
    peak        bigint,
    -- The member's time: how far along their ledger is. It never falls. Null: nothing has moved it yet.
    as_of       timestamptz,
    -- When the next of the member's lots and holds is due. Null: there are none.
    due_at      timestamptz,
    member_id   text collate "C" not null check (octet_length(member_id) between 1 and 64),
    -- 'unenrolled': a command named them and nobody ever enrolled them. The row exists to be locked.
    status      text not null check (status in ('unenrolled', 'active', 'exited', 'terminated')),
    -- Address and name stand here and nowhere else, and go with the membership.
    email       text,
    name        text,
    -- Random, made when address or name are first written, erased with them. The ledger's hashes are keyed with it, so
    -- that without it nobody can tell by trying which address or name they were of.
    contact_key bytea check (octet_length(contact_key) = 16),
    primary key (partition, member_id),
    constraint member_points_need_membership check
        (status = 'active' or (balance, held, debt) = (0, 0, 0) and due_at is null),
    constraint member_has_points_or_debt check (balance = 0 or debt = 0),
    constraint member_peak_is_passed check (peak > lifetime),
    constraint member_epoch_fits_status check ((status = 'unenrolled') = (epoch = 0)),
    constraint member_contact_check check
        (num_nonnulls(email, name, contact_key) = 0 or status = 'active' and num_nonnulls(email, name) > 0)
) with (fillfactor = 80); -- room on the page, so that a new balance rewrites no index
-- Who has to be brought up to date. The others, who are all of a programme without expiry, are not in it.
create index member_due on member (partition, due_at) where due_at is not null;

-- One row for each command that was decided, and for each thing that happened by itself when it was due, for good. A row
-- carries its effects: what it changed each number of its member by, where points came from and went, and what became
-- of the status. Whoever checks or repairs members sums these columns and need not know the rules of any command.
create table ledger (
    partition      smallint not null check (partition between 0 and 15),
    -- The programme that decided it; 0: not known.
    programme      smallint not null check (programme >= 0),
    -- The membership that the member is in after the row.
    epoch          integer not null,
    seq            bigint not null check (seq >= 1),
    delta          bigint not null,
    lifetime_delta bigint not null,
    balance_after  bigint not null check (balance_after >= 0),
    occurred_at    timestamptz not null,
    recorded_at    timestamptz not null,
    -- The command; of what happened by itself, an id that no sender may use.
    command_id     uuid not null,
    member_id      text collate "C" not null,
    type           text not null,
    -- The member's status, if the row changed it.
    status_after   text check (status_after in ('active', 'exited', 'terminated')),
    -- Why it was refused. Null: it was applied.
    code           text,
    -- When it took effect, where the member's time was later than occurred_at. Null: when it occurred.
    effective_at   timestamptz,
    -- What the command said. Which points its type allows, its rule says.
    points         bigint check (points between -1000000000000 and 1000000000000),
    reason         text,
    source_ref     text,
    -- What a command said of the address and of the name: null, if its type says nothing of it; no bytes, if it left it
    -- out; one byte, 0, if it cleared it; one byte, 1, if it gave one of which nothing is kept; else the first four
    -- bytes of the key's own hash and the HMAC-SHA-256 of the value.
    email_hmac     bytea check (octet_length(email_hmac) in (0, 1, 36)),
    name_hmac      bytea check (octet_length(name_hmac) in (0, 1, 36)),
    -- The command of the same member that it is about.
    target_id      uuid,
    -- When what it does is over.
    expires_at     timestamptz,
    -- Whether points counted as earned, where that was for the command to say.
    counts         boolean,
    -- The number of the reward that it was about.
    number         bigint,
    -- Of a reversal: what the reversals of its target come to with it, so that the last one tells all.
    reversed_after bigint check (reversed_after > 0),
    -- The other effects. Most rows have none of their own, and these eight are null: then nothing else changed, and a
    -- delta above 0 was issued, one below 0 spent.
    held_delta     bigint,
    debt_delta     bigint,
    -- What a credit named.
    issued         bigint check (issued >= 0),
    -- What a reversal of a credit took back.
    reversed       bigint check (reversed >= 0),
    -- What was spent for good; below 0 where a reversal gave it back.
    spent          bigint,
    -- What expired; below 0 where a reversal took back what had.
    expired        bigint,
    -- What ended with the membership.
    forfeited      bigint check (forfeited >= 0),
    -- Debt that ended with the membership.
    written_off    bigint check (written_off >= 0),
    -- What it changed lots by, the soonest-expiring first, each at the place of its lot.expires_at.
    lot_expires_at timestamptz[] check (cardinality(lot_expires_at) > 0),
    -- What is left of the lot.
    lot_deltas     bigint[],
    -- What has expired of it.
    lot_expired    bigint[],
    -- Of a capture: what it keeps of the points that its hold took there.
    lot_spent      bigint[],
    primary key (partition, member_id, seq),
    -- Finds repeats. The command stands before the member: ids are made in the order of time where their senders follow
    -- the contract's advice, so that the rows of a batch stand on a few pages at the end of their partition, and not
    -- each on a page of its own.
    unique (partition, command_id, member_id),
    constraint ledger_effects_are_whole check
        (num_nonnulls(held_delta, debt_delta, issued, reversed, spent, expired, forfeited, written_off) in (0, 8)),
    constraint ledger_refusal_has_no_effect check
        (code is null or delta = 0 and lifetime_delta = 0 and status_after is null and held_delta is null),
    -- No point is made or lost. Of a row without effects of its own it is so by itself.
    constraint ledger_conserves_points check
        (issued - reversed + debt_delta + written_off = delta + held_delta + spent + expired + forfeited),
    constraint ledger_reversal_has_target check (reversed_after is null or target_id is not null),
    constraint ledger_lots_are_whole check (
        num_nonnulls(lot_expires_at, lot_deltas, lot_expired, lot_spent) = 0
        or held_delta is not null
           and (cardinality(lot_deltas), cardinality(lot_expired), cardinality(lot_spent))
               = (cardinality(lot_expires_at), cardinality(lot_expires_at), cardinality(lot_expires_at)))
);
-- What the reversals of a row come to: the last one has the sum.
create index ledger_reversal on ledger (partition, member_id, target_id, seq) where reversed_after is not null;

-- Privileges keep everybody but the owner from changing the ledger (deploy/postgres/roles.sql); this stops the owner too.
create function ledger_is_final() returns trigger language plpgsql as $$
begin
    raise exception 'ledger rows never change and are never deleted';
end
$$;

create trigger ledger_is_final before update or delete on ledger
    for each row execute function ledger_is_final();
create trigger ledger_is_not_truncated before truncate on ledger
    for each statement execute function ledger_is_final();

-- The points of a membership that expire at one instant. Points that never expire are what is left of the balance after
-- the lots. A lot stays when nothing is left of it: a reversal may ask what had expired.
create table lot (
    partition  smallint not null check (partition between 0 and 15),
    epoch      integer not null check (epoch >= 1),
    -- The first instant after the day, in the zone that the programme had at the first credit.
    expires_at timestamptz not null,
    -- The effective time of the first credit.
    opened_at  timestamptz not null,
    -- What is left to spend.
    remaining  bigint not null check (remaining >= 0),
    -- What has expired unspent, less what reversals took back of it since.
    expired    bigint not null check (expired >= 0),
    -- When the member was warned. It stays, so that nobody is warned twice of one day.
    warned_at  timestamptz,
    -- The day, as people see it.
    expires_on date not null,
    member_id  text collate "C" not null,
    primary key (partition, member_id, epoch, expires_at)
) with (fillfactor = 80); -- room on the page, so that what is spent of it rewrites no index
-- Of which lots members may have to be warned. What is left of a lot is not in it: what is spent would rewrite it.
create index lot_unwarned on lot (partition, expires_at, member_id) where warned_at is null;

-- The open holds. One that is captured, released or has run out has no row here; what became of it, the ledger says.
create table hold (
    partition      smallint not null check (partition between 0 and 15),
    epoch          integer not null check (epoch >= 1),
    -- The ledger row that opened it.
    seq            bigint not null check (seq >= 1),
    points         bigint not null check (points > 0),
    -- When it runs out.
    expires_at     timestamptz not null,
    command_id     uuid not null,
    member_id      text collate "C" not null,
    -- What it took of which lots, the soonest-expiring first. The rest never expires.
    lot_expires_at timestamptz[] not null,
    lot_points     bigint[] not null,
    primary key (partition, member_id, command_id),
    constraint hold_lots_are_whole check (cardinality(lot_points) = cardinality(lot_expires_at))
);

-- Points for or from somebody who is not enrolled yet. The enrolment applies them in the order of parked_id.
create table parked (
    partition  smallint not null check (partition between 0 and 15),
    parked_id  bigint generated always as identity,
    member_id  text collate "C" not null,
    command_id uuid not null,
    body       bytea not null,
    parked_at  timestamptz not null,
    primary key (partition, parked_id),
    unique (partition, member_id, command_id)
);
-- The hourly look for commands that have waited too long.
create index parked_age on parked (partition, parked_at);

create table reward (
    partition    smallint not null check (partition between 0 and 15),
    member_id    text collate "C" not null,
    epoch        integer not null,
    -- The reward's number in its membership: 1, 2, 3, ...
    number       bigint not null check (number >= 1),
    -- The ledger row that crossed it.
    seq          bigint not null,
    -- The lifetime sum that was crossed.
    points       bigint not null,
    title        text not null,
    granted_at   timestamptz not null,
    -- The ledger row that used it. Null: it is open.
    redeemed_seq bigint check (redeemed_seq > seq),
    primary key (partition, member_id, epoch, number)
);

-- The one email of a reward, and the one warning of points that expire on a day. Its address is the member's when it is
-- sent.
create table email (
    partition       smallint not null check (partition between 0 and 15),
    -- Derived from what it is about, and the email's Message-ID with it. Its first four bits are the partition, so that
    -- whoever is asked to send it knows where it stands.
    email_id        uuid not null,
    member_id       text collate "C" not null,
    epoch           integer not null,
    kind            text not null check (kind in ('reward', 'expiring')),
    -- Of a reward: which.
    number          bigint,
    -- Of a warning: the last day on which the points can be spent, and how many there were when it was written.
    expires_on      date,
    points          bigint check (points > 0),
    state           text not null check (state in
        ('no_address', 'outdated', 'queued', 'sending', 'retrying', 'sent', 'unknown', 'dead')),
    -- How often a mail server was asked to take it.
    attempts        integer not null default 0 check (attempts >= 0),
    -- Attempts made before an operator queued it anew: the retry schedule begins again after them.
    attempts_before integer not null default 0,
    -- While 'sending': until when its mailer may still be at it. While 'retrying': when the next attempt is due.
    due_at          timestamptz,
    -- Drawn by the mailer for the claim that stands, or for the one before. What that mailer writes about the attempt
    -- names it, and so does a mailer that takes back a claim whose answer was lost.
    claim_token     uuid,
    -- What the mail server said last, or why it could not be asked.
    reply           text,
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    primary key (partition, email_id),
    unique (partition, member_id, epoch, number),
    constraint email_is_of_its_kind check
        ((number is not null) = (kind = 'reward')
         and num_nonnulls(expires_on, points) = case kind when 'expiring' then 2 else 0 end),
    constraint email_attempts_before_check check (attempts_before between 0 and attempts),
    constraint email_id_names_partition check (get_byte(uuid_send(email_id), 0) >> 4 = partition)
);
create unique index email_warning on email (partition, member_id, epoch, expires_on) where expires_on is not null;
create index email_unsettled on email (partition, state, due_at) where state not in ('sent', 'no_address', 'outdated');
-- Operators' lists go on after the last one seen, across partitions.
create index email_created on email (created_at, email_id);

-- Messages that a transaction wants published. The relay removes a row only after the broker's confirm.
create table outbox (
    partition   smallint not null check (partition between 0 and 15),
    outbox_id   bigint generated always as identity,
    exchange    text not null,
    routing_key text not null,
    message_id  text not null,
    type        text not null,
    body        bytea not null,
    -- The trace of the command that it came of (W3C Trace Context), to be sent on with it.
    traceparent text,
    tracestate  text,
    created_at  timestamptz not null,
    primary key (partition, outbox_id)
);

-- Events that a transaction wants published, if events are switched on. A table of their own: a flood of them must not
-- stand before the emails of the outbox. They are removed only after the broker's confirm.
create table event_outbox (
    partition   smallint not null check (partition between 0 and 15),
    -- Given under the member's lock, so that a member's events are numbered in the order in which they happened.
    event_no    bigint generated always as identity,
    -- A member's events are published one after the other.
    member_id   text collate "C" not null,
    message_id  uuid not null,
    routing_key text not null,
    body        bytea not null,
    created_at  timestamptz not null,
    primary key (partition, event_no)
);

-- Messages that nobody could use, kept byte for byte for an operator.
create table dead_letter (
    -- The member's; of a message that names no member, that of its routing key, so that it is kept by a transaction about
    -- the partition whose queue it came from; 0, if it has none. It never changes: what an operator finds out about the
    -- member later does not move the row.
    partition      smallint not null check (partition between 0 and 15),
    dead_letter_id bigint generated always as identity,
    -- The queue it came from.
    source         text not null,
    reason         text not null,
    error          text not null,
    member_id      text collate "C",
    command_id     uuid,
    command_type   text,
    email_id       uuid,
    exchange       text not null,
    routing_key    text not null,
    headers        jsonb not null,
    body           bytea not null,
    -- SHA-256 of source, message id and body: recognises a redelivery.
    digest         bytea not null,
    attempts       integer not null check (attempts >= 1),
    first_at       timestamptz not null,
    last_at        timestamptz not null,
    state          text not null default 'open' check (state in ('open', 'replaying', 'replayed', 'discarded')),
    -- What an operator wrote in place of the body, which stays as it came.
    edited_body    bytea,
    edited_at      timestamptz,
    -- While 'replaying': the replay that holds it, whose it is, and until when it may still be at it.
    replay_id      uuid,
    claimed_by     text,
    claimed_at     timestamptz,
    claimed_until  timestamptz,
    -- What its replay came to.
    result         text check (result in ('applied', 'refused', 'duplicate', 'parked', 'dead', 'queued')),
    -- The dead letter that it became when it failed again. No foreign key: edited, it may be another member's, and stand
    -- in another partition.
    successor_id   bigint,
    primary key (partition, dead_letter_id),
    constraint dead_letter_edit_check check ((edited_body is null) = (edited_at is null)),
    constraint dead_letter_claim_check check
        (num_nonnulls(replay_id, claimed_by, claimed_at, claimed_until) = case state when 'replaying' then 4 else 0 end),
    constraint dead_letter_replayed_check check ((state = 'replayed') = (result is not null)),
    constraint dead_letter_successor_check check (successor_id is null or result = 'dead')
);
-- Of the path: a message that comes again, and what became of a command or an email.
create index dead_letter_digest on dead_letter (partition, digest);
create index dead_letter_member on dead_letter (partition, member_id, command_id);
create index dead_letter_email on dead_letter (partition, email_id) where email_id is not null;
-- Of operators, who name a dead letter by its number alone, and whose lists and replays go across partitions.
create index dead_letter_number on dead_letter (dead_letter_id);
create index dead_letter_open on dead_letter (dead_letter_id) where state = 'open';
create index dead_letter_reason on dead_letter (reason, dead_letter_id);
create index dead_letter_type on dead_letter (command_type, dead_letter_id);
create index dead_letter_first_at on dead_letter (first_at);
create index dead_letter_replaying on dead_letter (replay_id) where state = 'replaying';

-- Who did what to a dead letter, an email or a member, and why. Rows are added and never change.
create table operator_event (
    -- That of what it was done to.
    partition         smallint not null check (partition between 0 and 15),
    operator_event_id bigint generated always as identity,
    -- What it was done to: a dead letter, an email, the dead letter of an email, or a member. The email that a dead
    -- letter names need not exist.
    dead_letter_id    bigint,
    email_id          uuid,
    member_id         text collate "C",
    at                timestamptz not null,
    -- Who: an operator.
    actor             text not null,
    action            text not null check (action in
        ('edited', 'discarded', 'erased', 'claimed', 'released', 'replayed', 'retried', 'resent', 'rebuilt')),
    -- Why, as the operator said; for what follows from an action by itself, what made it so.
    note              text,
    replay_id         uuid,
    -- What a replay came to.
    result            text,
    -- The code of a refusal, or the reason of the new dead letter.
    code              text,
    -- What a rebuild changed of the member: "balance 150 -> 100".
    changes           text,
    primary key (partition, operator_event_id),
    foreign key (partition, dead_letter_id) references dead_letter,
    constraint operator_event_subject_check check (num_nonnulls(dead_letter_id, email_id, member_id) > 0),
    constraint operator_event_rebuilt_check check
        ((action = 'rebuilt') = (member_id is not null) and (member_id is null) = (changes is null))
);
create index operator_event_letter on operator_event (dead_letter_id, operator_event_id)
    where dead_letter_id is not null;
create index operator_event_email on operator_event (partition, email_id, operator_event_id)
    where email_id is not null;
create index operator_event_member on operator_event (partition, member_id, operator_event_id)
    where member_id is not null;

-- The tables below do not grow with members and have no partition.

-- Every programme that a worker ever started with: rows of the ledger name the one that decided them.
create table programme (
    programme_id  smallint generated always as identity primary key,
    -- SHA-256 of the text.
    digest        bytea not null unique check (octet_length(digest) = 32),
    -- The programme as canonical JSON.
    text          text not null,
    first_used_at timestamptz not null
);

-- What is about to be applied alone because its worker may have died of it. Written outside of the transaction that
-- applies it, so that the note outlives the worker. Commands of a queue are taken in order, so the last note of each
-- queue is enough, and the table never has more rows than there are queues.
create table suspect (
    queue  text primary key,
    -- Recognises the message, as dead_letter.digest does.
    digest bytea not null,
    -- Which processes tried it, each once: with only the last one known, two that take turns at a queue, because their
    -- connections break, would be counted again and again, and neither has died.
    tried  uuid[] not null default '{}'
);

-- Who may use the bridge. A row stays when its token is revoked or has expired, so that the bridge, once it has been
-- given tokens, never takes strangers again.
create table token (
    -- Stands in the token in the clear, so that it can be looked up, named and revoked.
    token_id   text primary key collate "C" check (token_id ~ '^[0-9a-f]{16}$'),
    -- SHA-256 of the whole token, which is kept nowhere.
    digest     bytea not null check (octet_length(digest) = 32),
    -- Whose it is, as its maker said.
    name       text,
    scopes     text[] not null check (cardinality(scopes) > 0 and scopes <@ array['publish', 'read', 'operate']),
    created_at timestamptz not null default now(),
    expires_at timestamptz check (expires_at > created_at),
    revoked_at timestamptz
);
