-- What operators do to dead letters and mails: edits, replays, discards, and a history of who did what and why.

alter table dead_letter drop constraint dead_letter_state_check;
alter table dead_letter
    add constraint dead_letter_state_check check (state in ('open', 'replaying', 'replayed', 'discarded')),
    -- What an operator wrote in place of the body, which stays as it came.
    add column edited_body   bytea,
    add column edited_at     timestamptz,
    add constraint dead_letter_edit_check check ((edited_body is null) = (edited_at is null)),
    -- While 'replaying': the replay that holds the letter, whose it is, and until when it may still be at it.
    add column replay_id     uuid,
    add column claimed_by    text,
    add column claimed_at    timestamptz,
    add column claimed_until timestamptz,
    add constraint dead_letter_claim_check check
        (num_nonnulls(replay_id, claimed_by, claimed_at, claimed_until) = case state when 'replaying' then 4 else 0 end),
    -- What its replay came to.
    add column result        text
        check (result in ('applied', 'refused', 'duplicate', 'parked', 'dead', 'queued')),
    -- The letter that it became when it failed again.
    add column successor_id  bigint references dead_letter,
    add constraint dead_letter_replayed_check check ((state = 'replayed') = (result is not null)),
    add constraint dead_letter_successor_check check (successor_id is null or result = 'dead');

create index dead_letter_reason on dead_letter (reason, dead_letter_id);
create index dead_letter_type on dead_letter (command_type, dead_letter_id);
create index dead_letter_first_at on dead_letter (first_at);
create index dead_letter_email on dead_letter (email_id) where email_id is not null;
create index dead_letter_replaying on dead_letter (replay_id) where state = 'replaying';

-- The hourly look for commands that have waited too long.
create index parked_age on parked (parked_at);

-- Attempts made before an operator queued the mail anew: the retry ladder begins again after them.
alter table email
    add column attempts_before integer not null default 0,
    add constraint email_attempts_before_check check (attempts_before between 0 and attempts);
-- Lists of mails go on after the last one seen.
create index email_created on email (created_at, email_id);

create table operator_event (
    operator_event_id bigint generated always as identity primary key,
    -- What it was done to: a letter, a mail, or the letter of a mail. The mail that a letter names need not exist.
    dead_letter_id    bigint references dead_letter,
    email_id          uuid,
    at                timestamptz not null,
    -- Who: an operator.
    actor             text not null,
    action            text not null check (action in
        ('edited', 'discarded', 'claimed', 'released', 'replayed', 'retried', 'resent')),
    -- Why, as the operator said; for what follows from an action by itself, what made it so.
    note              text,
    replay_id         uuid,
    -- What a replay came to.
    result            text,
    -- The code of a refusal, or the reason of the new letter.
    code              text,
    check (num_nonnulls(dead_letter_id, email_id) > 0)
);
create index operator_event_letter on operator_event (dead_letter_id, operator_event_id)
    where dead_letter_id is not null;
create index operator_event_email on operator_event (email_id, operator_event_id) where email_id is not null;
