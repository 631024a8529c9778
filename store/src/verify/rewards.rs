//! Rewards follow from the ledger: one for each multiple of the milestone that the lifetime sum reached, once. What was
//! taken back takes no reward back, so the highest sum counts.
//!
//! The milestone of a membership is fixed when it begins and kept with the member while it lasts; that of an earlier
//! one is the points of its first reward.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "reward_numbers",
        promise: "each membership's rewards are numbered 1, 2, 3, ... and stand at that multiple of its milestone",
        examined: "select count(*) from reward",
        broken: "
            with step as (
                select r.*, lag(number) over membership as previous,
                       coalesce(m.milestone, first_value(points) over membership) as milestone
                from reward as r
                left join member as m on m.partition = r.partition and m.member_id = r.member_id and m.epoch = r.epoch
                window membership as (partition by r.partition, r.member_id, r.epoch order by number))
            select format('member %s membership %s reward %s', member_id, epoch, number),
                   case when number <> coalesce(previous, 0) + 1 then format('follows number %s', coalesce(previous, 0))
                        else format('stands at %s points, the milestone is %s', points, milestone) end
            from step
            where number <> coalesce(previous, 0) + 1 or points <> number::numeric * milestone",
    },
    Check {
        name: "reward_counts",
        promise: "each membership has as many rewards as its earnings hold milestones",
        examined: "
            select (select count(*) from member where epoch > 0)
                 + (select count(distinct (r.partition, r.member_id, r.epoch)) from reward as r
                    left join member as m using (partition, member_id, epoch) where m.member_id is null)",
        broken: "
            with membership as (
                select partition, member_id, epoch, milestone from member where epoch > 0
                union all
                select r.partition, r.member_id, r.epoch, r.points from reward as r
                left join member as m using (partition, member_id, epoch)
                where r.number = 1 and m.member_id is null),
            earned as (
                select partition, member_id, epoch, greatest(max(lifetime), 0) as points
                from (
                    select partition, member_id, epoch,
                           sum(lifetime_delta) over (partition by partition, member_id, epoch order by seq) as lifetime
                    from ledger) as running
                group by partition, member_id, epoch),
            granted as (
                select partition, member_id, epoch, count(*) as rewards from reward group by partition, member_id, epoch),
            due as (
                select member_id, epoch, milestone, coalesce(e.points, 0) as points, coalesce(rewards, 0) as rewards,
                       coalesce(div(e.points, milestone), 0) as due_rewards
                from membership
                left join earned as e using (partition, member_id, epoch)
                left join granted using (partition, member_id, epoch))
            select format('member %s membership %s', member_id, epoch),
                   format('%s points at %s a reward make %s rewards, not %s',
                          points, coalesce(milestone::text, 'none'), due_rewards, rewards)
            from due where rewards <> due_rewards",
    },
    Check {
        name: "reward_origins",
        promise: "each reward was earned by the ledger row it names: that row was the first to reach its points",
        examined: "select count(*) from reward",
        broken: "
            with running as (
                select partition, member_id, epoch, seq,
                       sum(lifetime_delta) over (partition by partition, member_id, epoch order by seq) as lifetime
                from ledger),
            peak as (
                select partition, member_id, epoch, seq, lifetime, greatest(max(lifetime) over earlier, 0) as before
                from running
                window earlier as (partition by partition, member_id, epoch order by seq
                                   rows between unbounded preceding and 1 preceding))
            select format('member %s membership %s reward %s', r.member_id, r.epoch, r.number),
                   case when p.seq is null then format('seq %s is no row of that membership', r.seq)
                        else format('seq %s leads to %s, and %s had been reached before; that does not cross %s',
                                    r.seq, lifetime, before, r.points) end
            from reward as r left join peak as p using (partition, member_id, epoch, seq)
            where p.seq is null or r.points <= before or r.points > lifetime",
    },
    Check {
        name: "redemptions",
        promise: "each reward that was used names the one applied row that used it",
        examined: "
            select (select count(*) from reward where redeemed_seq is not null)
                 + (select count(*) from ledger where number is not null and code is null)",
        broken: "
            with used as (select * from ledger where number is not null and code is null)
            select format('member %s membership %s reward %s', member_id, epoch, number),
                   case when r.redeemed_seq is null then format('seq %s used it, and it is open', u.seq)
                        when u.seq is null then format('was used by seq %s, which did not use it', r.redeemed_seq)
                        else format('was used by seq %s, and by seq %s', r.redeemed_seq, u.seq) end
            from (select * from reward where redeemed_seq is not null) as r
            full join used as u using (partition, member_id, epoch, number)
            where r.redeemed_seq is distinct from u.seq",
    },
];
