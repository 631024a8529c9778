//! Rewards follow from the ledger: one for each multiple of the milestone that lifetime earnings crossed, once.
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
                left join member as m on m.member_id = r.member_id and m.epoch = r.epoch
                window membership as (partition by r.member_id, r.epoch order by number))
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
                 + (select count(distinct (r.member_id, r.epoch)) from reward as r
                    left join member as m using (member_id, epoch) where m.member_id is null)",
        broken: "
            with membership as (
                select member_id, epoch, milestone from member where epoch > 0
                union all
                select r.member_id, r.epoch, r.points from reward as r
                left join member as m using (member_id, epoch)
                where r.number = 1 and m.member_id is null),
            earned as (
                select member_id, epoch, sum(delta) as points from ledger
                where type = 'earn' and outcome = 'applied' group by member_id, epoch),
            granted as (select member_id, epoch, count(*) as rewards from reward group by member_id, epoch),
            due as (
                select member_id, epoch, milestone, coalesce(e.points, 0) as points, coalesce(rewards, 0) as rewards,
                       coalesce(div(e.points, milestone), 0) as due_rewards
                from membership
                left join earned as e using (member_id, epoch) left join granted using (member_id, epoch))
            select format('member %s membership %s', member_id, epoch),
                   format('%s points at %s a reward make %s rewards, not %s',
                          points, coalesce(milestone::text, 'none'), due_rewards, rewards)
            from due where rewards <> due_rewards",
    },
    Check {
        name: "reward_origins",
        promise: "each reward was earned by the ledger row it names: that row's credit crossed its points",
        examined: "select count(*) from reward",
        broken: "
            with credit as (
                select member_id, seq, epoch, delta,
                       sum(delta) over (partition by member_id, epoch order by seq) as lifetime_after
                from ledger where type = 'earn' and outcome = 'applied')
            select format('member %s membership %s reward %s', r.member_id, r.epoch, r.number),
                   case when c.seq is null then format('seq %s is no credit of that membership', r.seq)
                        else format('seq %s leads from %s to %s, which does not cross %s',
                                    r.seq, lifetime_after - delta, lifetime_after, r.points) end
            from reward as r left join credit as c using (member_id, epoch, seq)
            where c.seq is null or r.points <= lifetime_after - delta or r.points > lifetime_after",
    },
];
