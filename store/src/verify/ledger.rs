//! The ledger itself: places without a gap, a running sum that runs, entries that their type allows, ids used once.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "places",
        promise: "each member's ledger rows are at the places 1, 2, 3, ... without a gap",
        examined: "select count(*) from ledger",
        broken: "
            select format('member %s seq %s', member_id, seq), format('follows %s', coalesce(previous, 0))
            from (
                select member_id, seq, lag(seq) over (partition by member_id order by seq) as previous
                from ledger) as step
            where seq <> coalesce(previous, 0) + 1",
    },
    Check {
        name: "running_sums",
        promise: "each balance_after is the one before it plus the row's delta",
        examined: "select count(*) from ledger",
        // Against the row before, not against the sum of all: one wrong row is then one finding, not a thousand.
        broken: "
            select format('member %s seq %s', member_id, seq),
                   format('%s and a change of %s make %s, not %s',
                          coalesce(previous, 0), delta, coalesce(previous, 0) + delta, balance_after)
            from (
                select member_id, seq, delta, balance_after,
                       lag(balance_after) over (partition by member_id order by seq) as previous
                from ledger) as step
            where balance_after::numeric <> coalesce(previous, 0)::numeric + delta",
    },
    Check {
        name: "entries",
        promise: "each row changes the balance as its type and outcome say, within the membership of its place",
        examined: "select count(*) from ledger",
        broken: "
            with step as (
                select *,
                    coalesce(lag(balance_after) over member, 0) as balance_before,
                    count(*) filter (where type = 'enroll' and outcome = 'applied') over member as enrolments,
                    count(*) filter (where type = 'enroll' and outcome = 'applied') over earlier
                        > count(*) filter (where type in ('exit', 'terminate') and outcome = 'applied') over earlier
                        as enrolled,
                    count(*) filter (where type = 'terminate' and outcome = 'applied') over earlier > 0 as terminated
                from ledger
                window member as (partition by member_id order by seq),
                    earlier as (member rows between unbounded preceding and 1 preceding)),
            due as (
                select *,
                    case when outcome = 'refused' then 0
                         when type = 'earn' then points
                         when type = 'spend' then -points
                         when type in ('enroll', 'update') then 0
                         when type in ('exit', 'terminate') then -balance_before end as due_delta,
                    -- Who has left may be terminated too.
                    outcome = 'refused' or not terminated and case type
                        when 'terminate' then enrolments > 0 else enrolled = (type <> 'enroll') end as timely
                from step)
            select format('member %s seq %s', member_id, seq),
                   case when due_delta is null then format('an applied %s without points', type)
                        when delta <> due_delta then
                            format('a %s %s changes the balance by %s, not %s', outcome, type, due_delta, delta)
                        when epoch <> enrolments then
                            format('belongs to membership %s, not %s', enrolments, epoch)
                        when terminated then format('a %s was applied for somebody terminated', type)
                        when enrolled then 'an enrolment was applied for somebody enrolled'
                        else format('a %s was applied for somebody not enrolled', type) end
            from due
            where due_delta is null or delta <> due_delta or epoch <> enrolments or not timely",
    },
    Check {
        name: "once",
        promise: "no command stands in the ledger twice",
        examined: "select count(*) from ledger",
        broken: "
            select format('member %s command %s', member_id, command_id), format('stands there %s times', count(*))
            from ledger group by command_id, member_id having count(*) > 1",
    },
];
