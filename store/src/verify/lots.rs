//! Points that expire: each lot follows from the ledger, they are never more than the balance, and none is overdue.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "lots",
        promise: "what is left of each lot, and what expired of it, is what rows put there and took from it",
        examined: "select count(*) from lot",
        broken: "
            with changed as (
                select partition, member_id, epoch, u.expires_at, sum(u.delta) as remaining, sum(u.expired) as expired
                from ledger cross join lateral unnest(lot_expires_at, lot_deltas, lot_expired)
                    as u (expires_at, delta, expired)
                group by partition, member_id, epoch, u.expires_at),
            compared as (
                select member_id, epoch, expires_at,
                       coalesce(l.remaining, 0) as remaining, coalesce(l.expired, 0) as expired,
                       coalesce(c.remaining, 0) as due_remaining, coalesce(c.expired, 0) as due_expired
                from lot as l full join changed as c using (partition, member_id, epoch, expires_at))
            select format('member %s membership %s lot %s', member_id, epoch, expires_at),
                   format('%s points are left and %s expired; the ledger sums to %s and %s', remaining, expired,
                          due_remaining, due_expired)
            from compared
            where (remaining, expired) <> (due_remaining, due_expired) or least(remaining, expired) < 0",
    },
    Check {
        name: "lot_sums",
        promise: "the lots of a membership come to no more than the balance, and those of an earlier one to nothing",
        examined: "select count(distinct (partition, member_id)) from lot",
        broken: "
            select format('member %s', member_id),
                   format('%s points expire and %s were left in an earlier membership; the balance is %s', dated, past,
                          balance)
            from (
                select m.partition, m.member_id, m.balance,
                       coalesce(sum(remaining) filter (where l.epoch = m.epoch), 0) as dated,
                       coalesce(sum(remaining) filter (where l.epoch <> m.epoch), 0) as past
                from member as m join lot as l on l.partition = m.partition and l.member_id = m.member_id
                group by m.partition, m.member_id) as sums
            where dated > balance or past <> 0",
    },
    Check {
        name: "overdue",
        promise: "nothing is left of a lot, and no hold is open, whose time the member's has reached",
        examined: "select (select count(*) from lot) + (select count(*) from hold)",
        broken: "
            select format('member %s', member_id), format('%s, and the member is as of %s', problem, as_of)
            from member
            join (
                select partition, member_id, expires_at, format('%s points expired at %s', remaining, expires_at)
                from lot where remaining > 0
                union all
                select partition, member_id, expires_at, format('hold %s ran out at %s', command_id, expires_at)
                from hold) as due (partition, member_id, expires_at, problem) using (partition, member_id)
            where expires_at <= as_of",
    },
    Check {
        name: "due",
        promise: "each member's row says when the next of their lots and holds is due",
        examined: "select count(*) from member",
        // Whoever is not found by it is never brought up to date.
        broken: "
            select format('member %s', member_id),
                   format('is due %s, the next lot or hold %s', coalesce(due_at::text, 'never'),
                          coalesce(next_at::text, 'never'))
            from member as m
            left join (
                select partition, member_id, min(expires_at) as next_at
                from (
                    select partition, member_id, expires_at from lot where remaining > 0
                    union all select partition, member_id, expires_at from hold) as open
                group by partition, member_id) as n using (partition, member_id)
            where due_at is distinct from next_at",
    },
];
