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
            left join (select member_id, sum(delta) as total from ledger group by member_id) as l using (member_id)
            where balance <> coalesce(total, 0) or balance < 0",
    },
    Check {
        name: "lifetimes",
        promise: "each lifetime sum is what the membership earned",
        examined: "select count(*) from member",
        broken: "
            select format('member %s', member_id),
                   format('the lifetime sum is %s, membership %s earned %s', lifetime, epoch, coalesce(earned, 0))
            from member
            left join (
                select member_id, epoch, sum(delta) as earned from ledger
                where type = 'earn' and outcome = 'applied' group by member_id, epoch) as l using (member_id, epoch)
            where lifetime <> coalesce(earned, 0)",
    },
    Check {
        name: "standings",
        promise: "each status, membership and last place follow from the member's enrolments, exits and rows",
        examined: "select count(*) from member",
        broken: "
            with history as (
                select member_id, max(seq) as last_seq,
                       count(*) filter (where type = 'enroll' and outcome = 'applied') as enrolments,
                       count(*) filter (where type = 'exit' and outcome = 'applied') as exits,
                       count(*) filter (where type = 'terminate' and outcome = 'applied') as terminations
                from ledger group by member_id),
            due as (
                select m.*, coalesce(h.last_seq, 0) as due_seq, coalesce(enrolments, 0) as due_epoch,
                       case when coalesce(enrolments, 0) = 0 then 'unenrolled'
                            when terminations > 0 then 'terminated'
                            when enrolments > exits then 'active' else 'exited' end as due_status
                from member as m left join history as h using (member_id))
            select format('member %s', member_id),
                   format('is %s in membership %s with last place %s; the ledger says %s, %s and %s',
                          status, epoch, last_seq, due_status, due_epoch, due_seq)
            from due where (status, epoch, last_seq) is distinct from (due_status, due_epoch, due_seq)",
    },
    Check {
        name: "known_members",
        promise: "every ledger row, reward and waiting command is of a member who has a row",
        examined: "
            select (select count(*) from ledger) + (select count(*) from reward) + (select count(*) from parked)",
        broken: "
            select format('member %s', member_id), format('has %s rows in %s but none in member', count(*), source)
            from (
                select member_id, 'ledger' as source from ledger
                union all select member_id, 'reward' from reward
                union all select member_id, 'parked' from parked) as mentioned
            where not exists (select from member where member.member_id = mentioned.member_id)
            group by member_id, source",
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
            join member as m using (member_id)
            left join ledger as l on l.member_id = p.member_id and l.command_id = p.command_id
            where m.status <> 'unenrolled' or l.seq is not null",
    },
];
