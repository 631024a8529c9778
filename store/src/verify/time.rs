//! A member's time: what moves it, and that it never goes back.

use super::Check;

/// The rows with the status before each, when each took effect, and when it moved the member's time to: only what is
/// about somebody who is a member before or after it does. The status is found as [`super::ledger`] finds it.
macro_rules! with_moves {
    ($query:literal) => {
        concat!(
            "with step as (
                select partition, member_id, seq, occurred_at, coalesce(effective_at, occurred_at) as effective,
                    coalesce(status_after, '') as status_after,
                    coalesce(('{active,exited,terminated}'::text[])[
                        max(seq * 4 + array_position('{active,exited,terminated}', status_after)) over (
                            partition by partition, member_id order by seq
                            rows between unbounded preceding and 1 preceding) % 4],
                        'unenrolled') as status
                from ledger),
            moving as (
                select *, case when 'active' in (status, status_after) then effective end as moved_to from step) ",
            $query
        )
    };
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "times",
        promise: "each row takes effect when it occurred, or at the member's time, if that was later",
        examined: "select count(*) from ledger",
        broken: with_moves!(
            ", judged as (
                select member_id, seq, effective, occurred_at,
                       max(moved_to) over (partition by partition, member_id order by seq
                                           rows between unbounded preceding and 1 preceding) as as_of
                from moving)
            select format('member %s seq %s', member_id, seq),
                   format('takes effect at %s, due is %s', effective, greatest(as_of, occurred_at))
            from judged where effective <> greatest(as_of, occurred_at)"
        ),
    },
    Check {
        name: "as_of",
        promise: "each member's time is that of the last row that moved it",
        examined: "select count(*) from member",
        broken: with_moves!(
            ", moved as (
                select partition, member_id, max(moved_to) as as_of from moving group by partition, member_id)
            select format('member %s', member_id),
                   format('is as of %s, the ledger says %s', coalesce(m.as_of::text, 'no time'),
                          coalesce(l.as_of::text, 'no time'))
            from member as m left join moved as l using (partition, member_id)
            where m.as_of is distinct from l.as_of"
        ),
    },
];
