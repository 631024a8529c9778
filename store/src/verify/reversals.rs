//! What was undone: never more than was done, and each reversal says what those of its target come to with it.

use super::Check;

pub(super) const CHECKS: &[Check] = &[Check {
    name: "reversals",
    promise: "the reversals of a row come to no more than it issued or spent, and each says what they come to",
    examined: "select count(*) from ledger where reversed_after is not null or reversed > 0 or spent < 0",
    // What can be undone of a row, its effects say: what it issued, or else what it spent.
    broken: "
        with reversal as (
            select r.member_id, r.seq, r.target_id, r.reversed_after, t.seq as target_seq, r.epoch = t.epoch as is_same,
                   case when t.of_credit > 0 then coalesce(r.reversed, 0) else -coalesce(r.spent, 0) end as points,
                   case when t.of_credit > 0 then coalesce(r.spent, 0) else coalesce(r.reversed, 0) end as other,
                   case when t.of_credit > 0 then t.of_credit else t.of_debit end as done,
                   r.partition
            from ledger as r
            left join lateral (
                select l.seq, l.epoch, coalesce(l.issued, greatest(l.delta, 0)) as of_credit,
                       coalesce(l.spent, greatest(-l.delta, 0)) as of_debit
                from ledger as l
                where l.partition = r.partition and l.member_id = r.member_id
                  and l.command_id = r.target_id) as t on true
            where r.reversed_after is not null or r.reversed > 0 or r.spent < 0),
        summed as (
            select *, sum(points) over (partition by partition, member_id, target_id order by seq) as total
            from reversal),
        judged as (
            select member_id, seq,
                case when target_seq is null then 'is about no row of the member'
                     when target_seq >= seq then format('is about seq %s, which came later', target_seq)
                     when not is_same then format('is about seq %s of another membership', target_seq)
                     when points <= 0 or other <> 0 then format('does not undo seq %s', target_seq)
                     when total > done
                         then format('seq %s can be undone by %s, and %s are', target_seq, done, total)
                     when reversed_after is distinct from total
                         then format('says that %s of seq %s are undone; it is %s',
                                     coalesce(reversed_after::text, 'none'), target_seq, total)
                end as problem
            from summed)
        select format('member %s seq %s', member_id, seq), problem from judged where problem is not null",
}];
