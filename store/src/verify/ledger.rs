//! The ledger itself: places without a gap, a running sum that runs, effects that the member's status allows, no point
//! made or lost, ids used once. What a row did stands in its columns: no check knows a type of command.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "places",
        promise: "each member's ledger rows are at the places 1, 2, 3, ... without a gap",
        examined: "select count(*) from ledger",
        broken: "
            select format('member %s seq %s', member_id, seq), format('follows %s', coalesce(previous, 0))
            from (
                select member_id, seq, lag(seq) over (partition by partition, member_id order by seq) as previous
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
                       lag(balance_after) over (partition by partition, member_id order by seq) as previous
                from ledger) as step
            where balance_after::numeric <> coalesce(previous, 0)::numeric + delta",
    },
    Check {
        name: "entries",
        promise: "each row has the effects that its outcome and the member's status allow, in the membership of its place",
        examined: "select count(*) from ledger",
        // The status before a row is that of the last row before it that has one: the highest seq, with the status as
        // its last two bits. Joining the ledger with itself would write all of it to disk.
        broken: "
            with step as (
                select *,
                    coalesce(lag(balance_after) over member, 0) as balance_before,
                    coalesce(sum(held_delta) over earlier, 0) as held_before,
                    coalesce(sum(debt_delta) over earlier, 0) as debt_before,
                    count(*) filter (where status_after = 'active') over member as enrolments,
                    coalesce(('{active,exited,terminated}'::text[])[
                        max(seq * 4 + array_position('{active,exited,terminated}', status_after)) over earlier % 4],
                        'unenrolled') as status
                from ledger
                window member as (partition by partition, member_id order by seq),
                    earlier as (member rows between unbounded preceding and 1 preceding)),
            judged as (
                select *,
                    case when code is not null and ((delta, lifetime_delta) <> (0, 0) or held_delta is not null
                                                    or status_after is not null or lot_expires_at is not null)
                             then 'a refusal changes nothing'
                         when epoch <> enrolments
                             then format('belongs to membership %s, not %s', enrolments, epoch)
                         when status_after = 'active' and status not in ('unenrolled', 'exited')
                           or status_after = 'exited' and status <> 'active'
                           or status_after = 'terminated' and status not in ('active', 'exited')
                             then format('who was %s cannot become %s', status, status_after)
                         when status_after is null and status <> 'active'
                           and (delta, lifetime_delta, coalesce(held_delta, 0), coalesce(debt_delta, 0)) <> (0, 0, 0, 0)
                             then format('gives or takes points of somebody %s', status)
                         when status_after is not null
                           and (delta, coalesce(held_delta, 0), coalesce(debt_delta, 0), lifetime_delta)
                               <> (-balance_before, -held_before, -debt_before, 0)
                             then 'a change of the status ends all points, holds and debt, and nothing else'
                    end as problem
                from step)
            select format('member %s seq %s', member_id, seq), problem from judged where problem is not null",
    },
    Check {
        name: "conservation",
        promise: "no row makes or loses a point: what it issued, took back, owed and wrote off is what it moved",
        examined: "select count(*) from ledger",
        // A row without effects of its own issued what came in and spent what went out.
        broken: "
            with row_sheet as (
                select member_id, seq, num_nonnulls(held_delta, debt_delta, issued, reversed, spent, expired, forfeited,
                                                    written_off) as named,
                       coalesce(issued, greatest(delta, 0))::numeric - coalesce(reversed, 0)
                           + coalesce(debt_delta, 0) + coalesce(written_off, 0) as came,
                       delta::numeric + coalesce(held_delta, 0) + coalesce(spent, greatest(-delta, 0))
                           + coalesce(expired, 0) + coalesce(forfeited, 0) as went,
                       coalesce(expired, 0) as expired,
                       coalesce((select sum(points) from unnest(lot_expired) as u (points)), 0) as expired_of_lots,
                       least(issued, reversed, forfeited, written_off) as least_sum,
                       coalesce(lot_deltas, lot_expired, lot_spent) is not null and lot_expires_at is null
                           or (cardinality(lot_deltas), cardinality(lot_expired), cardinality(lot_spent))
                               is distinct from (cardinality(lot_expires_at), cardinality(lot_expires_at),
                                                 cardinality(lot_expires_at)) as is_torn
                from ledger),
            judged as (
                select member_id, seq,
                       case when named not in (0, 8) then format('names %s of its 8 effects', named)
                            when is_torn then 'does not say of each lot what it changed'
                            when came <> went then format('%s points came and %s went', came, went)
                            when least_sum < 0 then format('has a sum of %s', least_sum)
                            when expired <> expired_of_lots
                                then format('%s points expired, and %s of lots', expired, expired_of_lots)
                       end as problem
                from row_sheet)
            select format('member %s seq %s', member_id, seq), problem from judged where problem is not null",
    },
    Check {
        name: "once",
        promise: "no command stands in the ledger twice",
        examined: "select count(*) from ledger",
        broken: "
            select format('member %s command %s', member_id, command_id), format('stands there %s times', count(*))
            from ledger group by partition, command_id, member_id having count(*) > 1",
    },
];
