//! Each reward and each day that a member was warned of has its one email, and each email stands where its state says.
//! Whether a queued email is still with the broker is nothing that the database knows.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "one_email",
        promise: "each reward has exactly one email, and each email about one a reward",
        examined: "select (select count(*) from reward) + (select count(*) from email where kind = 'reward')",
        broken: "
            select format('member %s membership %s reward %s', member_id, epoch, number),
                   case when granted = 0 then 'has an email but was never granted'
                        else format('has %s emails', mailed) end
            from (select partition, member_id, epoch, number, count(*) as rewards from reward
                  group by partition, member_id, epoch, number) as r
            full join (select partition, member_id, epoch, number, count(*) as emails from email
                       where kind = 'reward' group by partition, member_id, epoch, number) as e
                using (partition, member_id, epoch, number)
            cross join lateral (select coalesce(r.rewards, 0), coalesce(e.emails, 0)) as n (granted, mailed)
            where (granted, mailed) <> (1, 1)",
    },
    Check {
        name: "one_warning",
        promise: "each day of points that a member was warned of has exactly one email, and each warning such a day",
        examined: "
            select (select count(*) from lot where warned_at is not null)
                 + (select count(*) from email where kind = 'expiring')",
        broken: "
            select format('member %s membership %s day %s', member_id, epoch, expires_on),
                   case when lots is null then 'has a warning, and no points of that day count as warned of'
                        else format('has %s emails', coalesce(emails, 0)) end
            from (select partition, member_id, epoch, expires_on, count(*) as lots from lot
                  where warned_at is not null group by partition, member_id, epoch, expires_on) as l
            full join (select partition, member_id, epoch, expires_on, count(*) as emails from email
                       where kind = 'expiring' group by partition, member_id, epoch, expires_on) as e
                using (partition, member_id, epoch, expires_on)
            where lots is null or coalesce(emails, 0) <> 1",
    },
    Check {
        name: "email_states",
        promise: "each email has what its state says: attempts, a time that it is due, a dead letter",
        examined: "select count(*) from email",
        broken: "
            with counted as (
                select partition, email_id, count(*) as dead_letters from dead_letter where email_id is not null
                group by partition, email_id)
            select format('email %s of member %s', email_id, member_id),
                   format('is %s with %s attempts, %s and %s dead letters', state, attempts,
                          case when due_at is null then 'no time' else 'a time that it is due' end,
                          coalesce(dead_letters, 0))
            from email left join counted using (partition, email_id)
            where state in ('sent', 'sending', 'retrying', 'unknown') and attempts = 0
                or (state in ('sending', 'retrying')) <> (due_at is not null)
                or state = 'dead' and dead_letters is null",
    },
    Check {
        name: "outbox",
        promise: "each email that the outbox asks for is there",
        examined: "select count(*) from outbox where exchange = 'loyalty.emails'",
        broken: "
            select format('outbox row %s', o.outbox_id),
                   'is of no email'
            from outbox as o left join email as e on e.partition = o.partition and e.email_id::text = o.message_id
            where o.exchange = 'loyalty.emails' and e.email_id is null",
    },
];
