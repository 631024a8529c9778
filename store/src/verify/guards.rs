//! What keeps wrong rows out must still be there and switched on: rows are only as safe as their guards.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "triggers",
        promise: "the triggers that keep the ledger final are in place and switched on",
        examined: "select 2::bigint",
        // The type's bits are the documented ones of pg_trigger: 1 each row, 2 before, 8 delete, 16 update, 32
        // truncate. 'O' and 'A' are the states in which a trigger fires for us.
        broken: "
            select format('trigger %s on ledger', wanted.name),
                   case when tgname is null then 'is missing'
                        when tgenabled not in ('O', 'A') then 'is switched off'
                        else 'does not guard what it should' end
            from (values ('ledger_is_final', 1 | 2 | 8 | 16), ('ledger_is_not_truncated', 2 | 32))
                as wanted (name, type)
            left join pg_trigger on tgrelid = to_regclass('ledger') and tgname = wanted.name
            where tgname is null or tgenabled not in ('O', 'A') or tgtype <> wanted.type
                or tgfoid::regproc::text not like '%ledger_is_final' or tgqual is not null or tgattr <> ''",
    },
    Check {
        name: "constraints",
        promise: "the keys and checks that keep wrong rows out are in place and valid",
        examined: "select 57::bigint",
        // Keys by what they say, checks by name: PostgreSQL writes a check's text differently from release to
        // release.
        broken: "
            select format('%s on %s', coalesce(wanted.definition, wanted.name), wanted.source),
                   case when c.oid is null then 'is missing' else 'is not valid' end
            from (values
                ('member', null, 'PRIMARY KEY (partition, member_id)'),
                ('lot', null, 'PRIMARY KEY (partition, member_id, epoch, expires_at)'),
                ('hold', null, 'PRIMARY KEY (partition, member_id, command_id)'),
                ('programme', null, 'UNIQUE (digest)'),
                ('ledger', null, 'PRIMARY KEY (partition, member_id, seq)'),
                ('ledger', null, 'UNIQUE (partition, command_id, member_id)'),
                ('parked', null, 'PRIMARY KEY (partition, parked_id)'),
                ('parked', null, 'UNIQUE (partition, member_id, command_id)'),
                ('reward', null, 'PRIMARY KEY (partition, member_id, epoch, number)'),
                ('email', null, 'PRIMARY KEY (partition, email_id)'),
                ('email', null, 'UNIQUE (partition, member_id, epoch, number)'),
                ('outbox', null, 'PRIMARY KEY (partition, outbox_id)'),
                ('event_outbox', null, 'PRIMARY KEY (partition, event_no)'),
                ('dead_letter', null, 'PRIMARY KEY (partition, dead_letter_id)'),
                ('operator_event', null, 'PRIMARY KEY (partition, operator_event_id)'),
                ('member', 'member_partition_check', null),
                ('lot', 'lot_partition_check', null),
                ('lot', 'lot_remaining_check', null),
                ('lot', 'lot_expired_check', null),
                ('hold', 'hold_partition_check', null),
                ('hold', 'hold_points_check', null),
                ('hold', 'hold_lots_are_whole', null),
                ('ledger', 'ledger_partition_check', null),
                ('parked', 'parked_partition_check', null),
                ('reward', 'reward_partition_check', null),
                ('email', 'email_partition_check', null),
                ('outbox', 'outbox_partition_check', null),
                ('event_outbox', 'event_outbox_partition_check', null),
                ('dead_letter', 'dead_letter_partition_check', null),
                ('operator_event', 'operator_event_partition_check', null),
                ('member', 'member_balance_check', null),
                ('member', 'member_debt_check', null),
                ('member', 'member_has_points_or_debt', null),
                ('member', 'member_held_check', null),
                ('member', 'member_peak_is_passed', null),
                ('member', 'member_points_need_membership', null),
                ('member', 'member_contact_check', null),
                ('member', 'member_epoch_check', null),
                ('member', 'member_epoch_fits_status', null),
                ('member', 'member_last_seq_check', null),
                ('member', 'member_lifetime_check', null),
                ('member', 'member_milestone_check', null),
                ('member', 'member_status_check', null),
                ('ledger', 'ledger_balance_after_check', null),
                ('ledger', 'ledger_conserves_points', null),
                ('ledger', 'ledger_effects_are_whole', null),
                ('ledger', 'ledger_lots_are_whole', null),
                ('ledger', 'ledger_points_check', null),
                ('ledger', 'ledger_refusal_has_no_effect', null),
                ('ledger', 'ledger_reversal_has_target', null),
                ('ledger', 'ledger_seq_check', null),
                ('ledger', 'ledger_status_after_check', null),
                ('reward', 'reward_number_check', null),
                ('email', 'email_id_names_partition', null),
                ('email', 'email_is_of_its_kind', null),
                ('email', 'email_kind_check', null),
                ('email', 'email_state_check', null)) as wanted (source, name, definition)
            left join pg_constraint as c on c.conrelid = to_regclass(wanted.source)
                and (c.conname = wanted.name or pg_get_constraintdef(c.oid) = wanted.definition)
            left join pg_index as i on i.indexrelid = c.conindid and c.contype in ('p', 'u')
            where c.oid is null or not c.convalidated or i.indisvalid is false",
    },
];
