-- Who had members computed anew from their ledgers, when, why, and what that changed.

alter table operator_event
    add column member_id text collate "C",
    -- What was changed: "balance 150 -> 100".
    add column changes   text,
    drop constraint operator_event_check,
    add constraint operator_event_check check (num_nonnulls(dead_letter_id, email_id, member_id) > 0),
    drop constraint operator_event_action_check,
    add constraint operator_event_action_check check (action in
        ('edited', 'discarded', 'claimed', 'released', 'replayed', 'retried', 'resent', 'rebuilt')),
    add constraint operator_event_rebuilt_check check
        ((action = 'rebuilt') = (member_id is not null) and (member_id is null) = (changes is null));

create index operator_event_member on operator_event (member_id, operator_event_id) where member_id is not null;
