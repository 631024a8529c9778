//! Points that are set aside: each hold is opened by one row and closed by at most one.

use super::Check;

pub(super) const CHECKS: &[Check] = &[Check {
    name: "holds",
    promise: "each hold is as its row opened it, and is open until one row closes it or the membership ends",
    examined: "select count(*) from ledger where held_delta > 0",
    broken: "
        with opened as (
            select l.partition, l.member_id, l.command_id, l.seq, l.epoch, l.held_delta as points, l.expires_at,
                   coalesce(lot_expires_at, '{}') as lots,
                   array(select -points from unnest(lot_deltas) as u (points)) as lot_points,
                   (m.status, m.epoch) = ('active', l.epoch) as goes_on
            from ledger as l left join member as m on m.partition = l.partition and m.member_id = l.member_id
            where held_delta > 0),
        closed as (
            select partition, member_id, target_id as command_id, count(*) as times, min(seq) as seq,
                   -sum(held_delta) as points
            from ledger where held_delta < 0 and target_id is not null group by partition, member_id, target_id),
        judged as (
            select member_id, command_id,
                case when o.seq is null and h.seq is null then format('seq %s closes it, and no row opened it', c.seq)
                     when o.seq is null then 'is open, and no row opened it'
                     when c.times > 1 then format('was closed %s times', c.times)
                     when h.seq is not null and c.seq is not null then format('is open, and seq %s closed it', c.seq)
                     when h.seq is not null and not o.goes_on then 'is open, and its membership has ended'
                     when h.seq is null and c.seq is null and o.goes_on then 'is not open, and nothing closed it'
                     when c.points <> o.points or c.seq <= o.seq
                         then format('seq %s opened it with %s points, seq %s closed it with %s',
                                     o.seq, o.points, c.seq, c.points)
                     when (h.seq, h.epoch, h.points, h.expires_at, h.lot_expires_at, h.lot_points)
                         <> (o.seq, o.epoch, o.points, o.expires_at, o.lots, o.lot_points)
                         then format('is not as seq %s opened it', o.seq)
                end as problem
            from opened as o
            full join closed as c using (partition, member_id, command_id)
            full join hold as h using (partition, member_id, command_id))
        select format('member %s hold %s', member_id, command_id), problem from judged where problem is not null",
}];
