//! What a member's row says must follow from the member's ledger, which is the only truth.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "balances",
        promise: "each balance is the sum of the member's ledger rows and not below zero",
        examined: "select count(*) from member",
        broken: "
            select format('member %s', member_id),
                   format('the balance is %s, the ledger sums to %s', balance, coalesce(total, 0))
            from member
            left join (select partition, member_id, sum(delta) as total from ledger group by partition, member_id) as l
                using (partition, member_id)
            where balance <> coalesce(total, 0) or balance < 0",
    },
    Check {
        name: "lifetimes",
        promise: "each lifetime sum is what the rows of the membership changed it by, and not below zero",
        examined: "select count(*) from member",
        broken: "
            select format('member %s', member_id),
                   format('the lifetime sum is %s, membership %s earned %s', lifetime, epoch, coalesce(earned, 0))
            from member
            left join (
                select partition, member_id, epoch, sum(lifetime_delta) as earned from ledger
                group by partition, member_id, epoch) as l using (partition, member_id, epoch)
            where lifetime <> coalesce(earned, 0) or lifetime < 0",
    },
    Check {
        name: "peaks",
        promise: "each peak is the highest that the lifetime sum of the membership was",
        examined: "select count(*) from member",
        // Against the ledger alone: a lifetime sum that is wrong is a finding of its own.
        broken: "
            with running as (
                select partition, member_id, epoch,
                       sum(lifetime_delta) over (partition by partition, member_id, epoch order by seq) as lifetime,
                       sum(lifetime_delta) over (partition by partition, member_id, epoch) as earned
                from ledger),
            highest as (
                select partition, member_id, epoch, max(earned) as earned, greatest(max(lifetime), 0) as peak
                from running group by partition, member_id, epoch)
            select format('member %s', member_id),
                   format('the peak is %s, membership %s reached %s', coalesce(m.peak, l.earned, 0), epoch,
                          coalesce(l.peak, 0))
            from member as m left join highest as l using (partition, member_id, epoch)
            where coalesce(m.peak, l.earned, 0) <> coalesce(l.peak, 0)",
    },
    Check {
        name: "held",
        promise: "the points that each member has set aside are the sum of the ledger rows, and of the open holds",
        examined: "select count(*) from member",
        broken: "
            select format('member %s', member_id),
                   format('%s points are held, the ledger sums to %s and the open holds to %s', held,
                          coalesce(total, 0), coalesce(open, 0))
            from member
            left join (select partition, member_id, sum(held_delta) as total from ledger
                       group by partition, member_id) as l using (partition, member_id)
            left join (select partition, member_id, sum(points) as open from hold
                       group by partition, member_id) as h using (partition, member_id)
            where (held, held) is distinct from (coalesce(total, 0), coalesce(open, 0)) or held < 0",
    },
    Check {
        name: "debts",
        promise: "each debt is the sum of the member's ledger rows, and nobody has points and a debt",
        examined: "select count(*) from member",
        broken: "
            select format('member %s', member_id),
                   format('the debt is %s beside %s points, the ledger sums to %s', debt, balance, coalesce(total, 0))
            from member
            left join (select partition, member_id, sum(debt_delta) as total from ledger
                       group by partition, member_id) as l using (partition, member_id)
            where debt <> coalesce(total, 0) or debt < 0 or debt > 0 and balance > 0",
    },
    Check {
        name: "standings",
        promise: "each status, membership and last place follow from the member's rows",
        examined: "select count(*) from member",
        broken: "
            with history as (
                select partition, member_id, max(seq) as last_seq,
                       count(*) filter (where status_after = 'active') as enrolments,
                       -- The last status: the highest seq that has one, with the status as its last two bits.
                       ('{active,exited,terminated}'::text[])[
                           max(seq * 4 + array_position('{active,exited,terminated}', status_after)) % 4] as status
                from ledger group by partition, member_id),
            due as (
                select m.*, coalesce(h.last_seq, 0) as due_seq, coalesce(enrolments, 0) as due_epoch,
                       coalesce(h.status, 'unenrolled') as due_status
                from member as m left join history as h using (partition, member_id))
            select format('member %s', member_id),
                   format('is %s in membership %s with last place %s; the ledger says %s, %s and %s',
                          status, epoch, last_seq, due_status, due_epoch, due_seq)
            from due where (status, epoch, last_seq) is distinct from (due_status, due_epoch, due_seq)",
    },
    Check {
        name: "known_members",
        promise: "every ledger row, lot, hold, reward and waiting command is of a member who has a row",
        examined: "
            select (select count(*) from ledger) + (select count(*) from lot) + (select count(*) from hold)
                 + (select count(*) from reward) + (select count(*) from parked)",
        broken: "
            select format('member %s', member_id), format('has %s rows in %s but none in member', count(*), source)
            from (
                select partition, member_id, 'ledger' as source from ledger
                union all select partition, member_id, 'lot' from lot
                union all select partition, member_id, 'hold' from hold
                union all select partition, member_id, 'reward' from reward
                union all select partition, member_id, 'parked' from parked) as mentioned
            where not exists (select from member where member.partition = mentioned.partition
                                                   and member.member_id = mentioned.member_id)
            group by member_id, source",
    },
    Check {
        name: "partitions",
        promise: "every row about a member stands in the partition of the member's row",
        examined: "
            select (select count(*) from ledger) + (select count(*) from lot) + (select count(*) from hold)
                 + (select count(*) from reward) + (select count(*) from email) + (select count(*) from parked)
                 + (select count(*) from event_outbox)
                 + (select count(*) from dead_letter where member_id is not null)
                 + (select count(*) from operator_event where member_id is not null)",
        // A dead letter of which only an operator found out whose it is stays where it was kept.
        broken: "
            select format('member %s', member_id),
                   format('has rows in partition %s of %s and stands in %s', about.partition, source, m.partition)
            from (
                select partition, member_id, 'ledger' as source from ledger
                union select partition, member_id, 'lot' from lot
                union select partition, member_id, 'hold' from hold
                union select partition, member_id, 'reward' from reward
                union select partition, member_id, 'email' from email
                union select partition, member_id, 'parked' from parked
                union select partition, member_id, 'event_outbox' from event_outbox
                union select partition, member_id, 'operator_event' from operator_event where member_id is not null
                union select partition, member_id, 'dead_letter' from dead_letter where edited_at is null) as about
            join member as m using (member_id) where about.partition <> m.partition",
    },
    Check {
        name: "waiting",
        promise: "a command waits only while its member is not enrolled, and a decided one waits no longer",
        examined: "select count(*) from parked",
        broken: "
            select format('member %s command %s', p.member_id, p.command_id),
                   case when l.seq is null then format('waits, and the member is %s', m.status)
                        else format('waits, and was decided at place %s', l.seq) end
            from parked as p
            join member as m using (partition, member_id)
            left join ledger as l
                on l.partition = p.partition and l.member_id = p.member_id and l.command_id = p.command_id
            where m.status <> 'unenrolled' or l.seq is not null",
    },
];
