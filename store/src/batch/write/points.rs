//! What a batch makes of members' numbers, and the rows of the ledger that say so.
//!
//! Most commands move points and nothing else: what they write is one short statement for each partition.

use deadpool_postgres::Object;
use loyalty_common::{CommandId, RefusalCode};
use loyalty_ledger::contact::ContactKey;
use loyalty_ledger::{Effects, Entry, LotChange, Member, MemberStatus};
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::{Plans, column};
use crate::partition::{Named, partition};

// The statements that every batch sends take their arrays apart in the list of a `select`: as a table, `from
// unnest(...)`, each array would first be copied into a store of its own, which costs a tenth of the ledger's statement
// (measured).

// The members of whom only points are new, and the rows of the ledger without effects of their own. In one statement:
// small batches pay for the statements. Of the form for several partitions, the first parameter says that of each
// member, and the last that of each row.
macro_rules! write_plain {
    (member: $member:literal, $of_member:literal, entry: $entry:literal) => {
        concat!(
            "with moved as (
                update member as m
                set balance = u.balance, lifetime = u.lifetime, last_seq = u.last_seq, as_of = u.as_of,
                    due_at = u.due_at, updated_at = now()
                from (select ",
            $member,
            " unnest($2::text[]) as member_id, unnest($3::bigint[]) as balance,
                             unnest($4::bigint[]) as lifetime, unnest($5::bigint[]) as last_seq,
                             unnest($6::timestamptz[]) as as_of, unnest($7::timestamptz[]) as due_at) as u
                where m.partition = ",
            $of_member,
            " and m.member_id = u.member_id)
            insert into ledger (partition, member_id, seq, command_id, programme, epoch, type, code, points, delta,
                                lifetime_delta, status_after, balance_after, occurred_at, effective_at, reason,
                                source_ref, email_hmac, name_hmac, recorded_at)
            select ",
            $entry,
            ", unnest($8::text[]), unnest($9::bigint[]), unnest($10::uuid[]),
                   unnest($11::smallint[]), unnest($12::int[]), unnest($13::text[]), unnest($14::text[]),
                   unnest($15::bigint[]), unnest($16::bigint[]), unnest($17::bigint[]), unnest($18::text[]),
                   unnest($19::bigint[]), unnest($20::timestamptz[]), unnest($21::timestamptz[]),
                   unnest($22::text[]), unnest($23::text[]), unnest($24::bytea[]), unnest($25::bytea[]), now()"
        )
    };
}

pub(super) const WRITE_PLAIN: &str = write_plain!(member: "", "$1", entry: "$1::smallint");
pub(super) const WRITE_PLAIN_EACH: &str = write_plain!(
    member: "unnest($1::smallint[]) as partition,", "u.partition", entry: "unnest($26::smallint[])"
);

/// Arrays of a row come as PostgreSQL writes them: one of arrays would have to be a rectangle.
pub(super) const INSERT_FULL: &str = "
    insert into ledger (partition, member_id, seq, command_id, programme, epoch, type, code, points, delta,
                        lifetime_delta, status_after, balance_after, occurred_at, effective_at, reason, source_ref,
                        email_hmac, name_hmac, recorded_at,
                        target_id, expires_at, counts, number, reversed_after, held_delta, debt_delta, issued, reversed,
                        spent, expired, forfeited, written_off, lot_expires_at, lot_deltas, lot_expired, lot_spent)
    select $1::smallint, unnest($2::text[]), unnest($3::bigint[]), unnest($4::uuid[]), unnest($5::smallint[]),
           unnest($6::int[]), unnest($7::text[]), unnest($8::text[]), unnest($9::bigint[]), unnest($10::bigint[]),
           unnest($11::bigint[]), unnest($12::text[]), unnest($13::bigint[]), unnest($14::timestamptz[]),
           unnest($15::timestamptz[]), unnest($16::text[]), unnest($17::text[]), unnest($18::bytea[]),
           unnest($19::bytea[]), now(),
           unnest($20::uuid[]), unnest($21::timestamptz[]), unnest($22::bool[]), unnest($23::bigint[]),
           unnest($24::bigint[]), unnest($25::bigint[]), unnest($26::bigint[]), unnest($27::bigint[]),
           unnest($28::bigint[]), unnest($29::bigint[]), unnest($30::bigint[]), unnest($31::bigint[]),
           unnest($32::bigint[]), unnest($33::text[])::timestamptz[], unnest($34::text[])::bigint[],
           unnest($35::text[])::bigint[], unnest($36::text[])::bigint[]";

pub(super) const UPDATE_MEMBERS: &str = "
    update member as m
    set status = u.status, epoch = u.epoch, milestone = u.milestone, balance = u.balance, held = u.held,
        debt = u.debt, lifetime = u.lifetime, peak = u.peak, as_of = u.as_of, due_at = u.due_at, last_seq = u.last_seq,
        email = case when u.keeps_email then m.email else u.email end,
        name = case when u.keeps_name then m.name else u.name end, contact_key = u.contact_key,
        enrolled_at = u.enrolled_at, updated_at = now()
    from unnest($2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                $9::text[], $10::text[], $11::timestamptz[], $12::bool[], $13::bool[], $14::bytea[], $15::bigint[],
                $16::bigint[], $17::bigint[], $18::timestamptz[], $19::timestamptz[])
        as u (member_id, status, epoch, milestone, balance, lifetime, last_seq, email, name, enrolled_at, keeps_email,
              keeps_name, contact_key, held, debt, peak, as_of, due_at)
    where m.partition = $1 and m.member_id = u.member_id";

/// The columns of rows, as arrays.
type Columns<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;

/// One statement; none, if there is nothing of either.
pub(super) async fn write_plain(
    client: &Object,
    plans: &Plans,
    moved: &[Member],
    entries: &[&Entry],
) -> Result<(), Error> {
    let moved: Vec<&Member> = moved.iter().collect();
    let of_members = column(&moved, |row| partition(&row.member_id));
    let of_entries = column(entries, |row| partition(&row.member_id));
    let columns = moved_columns(&moved).into_iter().chain(plain_columns(entries));
    match Named::of([of_members.as_slice(), of_entries.as_slice()].concat()) {
        Named::Each(all) if all.is_empty() => Ok(()),
        Named::One(partition) => execute(client, &plans.write_plain, &partition, columns.collect()).await.map(drop),
        Named::Each(_) => {
            let columns = columns.chain([Box::new(of_entries) as _]).collect();
            execute(client, &plans.write_plain_each, &of_members, columns).await.map(drop)
        }
    }
}

pub(super) async fn insert_full(
    client: &Object,
    plans: &Plans,
    partition: i16,
    rows: Vec<&Entry>,
) -> Result<u64, Error> {
    let columns = plain_columns(&rows).into_iter().chain(other_columns(&rows)).collect();
    execute(client, &plans.insert_full, &partition, columns).await
}

pub(super) async fn update_members(
    client: &Object,
    plans: &Plans,
    partition: i16,
    rows: Vec<&Member>,
) -> Result<u64, Error> {
    let columns: Columns<'_> = vec![
        Box::new(column(&rows, |row| row.member_id.as_str())),
        Box::new(column(&rows, |row| row.state.status.as_str())),
        Box::new(column(&rows, |row| row.state.epoch)),
        Box::new(column(&rows, |row| row.state.milestone)),
        Box::new(column(&rows, |row| row.state.balance)),
        Box::new(column(&rows, |row| row.state.lifetime)),
        Box::new(column(&rows, |row| row.last_seq)),
        Box::new(column(&rows, |row| row.contact.email.new_value())),
        Box::new(column(&rows, |row| row.contact.name.new_value())),
        Box::new(column(&rows, |row| row.enrolled_at)),
        Box::new(column(&rows, |row| row.contact.email.is_stored())),
        Box::new(column(&rows, |row| row.contact.name.is_stored())),
        Box::new(column(&rows, |row| row.contact.key.as_ref().map(ContactKey::as_bytes))),
        Box::new(column(&rows, |row| row.state.held)),
        Box::new(column(&rows, |row| row.state.debt)),
        Box::new(column(&rows, |row| row.state.lowered_peak())),
        Box::new(column(&rows, |row| row.state.as_of)),
        Box::new(column(&rows, |row| row.due_at)),
    ];
    execute(client, &plans.update_members, &partition, columns).await
}

async fn execute(
    client: &Object,
    statement: &tokio_postgres::Statement,
    partitions: &(dyn ToSql + Sync),
    columns: Columns<'_>,
) -> Result<u64, Error> {
    let columns = columns.iter().map(|column| &**column as &(dyn ToSql + Sync));
    let parameters: Vec<_> = std::iter::once(partitions).chain(columns).collect();
    client.execute(statement, &parameters).await
}

fn moved_columns<'a>(rows: &[&'a Member]) -> Columns<'a> {
    vec![
        Box::new(column(rows, |row| row.member_id.as_str())),
        Box::new(column(rows, |row| row.state.balance)),
        Box::new(column(rows, |row| row.state.lifetime)),
        Box::new(column(rows, |row| row.last_seq)),
        Box::new(column(rows, |row| row.state.as_of)),
        Box::new(column(rows, |row| row.due_at)),
    ]
}

/// The columns of all rows.
fn plain_columns<'a>(rows: &[&'a Entry]) -> Columns<'a> {
    vec![
        Box::new(column(rows, |row| row.member_id.as_str())),
        Box::new(column(rows, |row| row.seq)),
        Box::new(column(rows, |row| row.command_id.uuid())),
        Box::new(column(rows, |row| row.programme)),
        Box::new(column(rows, |row| row.epoch)),
        Box::new(column(rows, |row| row.content.entry_type.as_str())),
        Box::new(column(rows, |row| row.code.map(RefusalCode::as_str))),
        Box::new(column(rows, |row| row.content.points)),
        Box::new(column(rows, |row| row.effects.delta)),
        Box::new(column(rows, |row| row.effects.lifetime_delta)),
        Box::new(column(rows, |row| row.effects.status_after.map(MemberStatus::as_str))),
        Box::new(column(rows, |row| row.balance_after)),
        Box::new(column(rows, |row| row.occurred_at)),
        Box::new(column(rows, |row| (row.effective_at != row.occurred_at).then_some(row.effective_at))),
        Box::new(column(rows, |row| row.content.reason.as_deref())),
        Box::new(column(rows, |row| row.content.source_ref.as_deref())),
        Box::new(column(rows, |row| row.content.email.to_row())),
        Box::new(column(rows, |row| row.content.name.to_row())),
    ]
}

/// The columns that plain rows leave empty.
fn other_columns<'a>(rows: &[&'a Entry]) -> Columns<'a> {
    // All of them, or none where they would say nothing.
    let effect = |of: fn(&Effects) -> i64| column(rows, |row| (!row.effects.is_plain()).then(|| of(&row.effects)));
    vec![
        Box::new(column(rows, |row| row.content.target.map(CommandId::uuid))),
        Box::new(column(rows, |row| row.content.expires_at)),
        Box::new(column(rows, |row| row.content.counts)),
        Box::new(column(rows, |row| row.content.number)),
        Box::new(column(rows, |row| row.reversed_after)),
        Box::new(effect(|effects| effects.held_delta)),
        Box::new(effect(|effects| effects.debt_delta)),
        Box::new(effect(|effects| effects.sheet.issued)),
        Box::new(effect(|effects| effects.sheet.reversed)),
        Box::new(effect(|effects| effects.sheet.spent)),
        Box::new(effect(|effects| effects.sheet.expired)),
        Box::new(effect(|effects| effects.sheet.forfeited)),
        Box::new(effect(|effects| effects.sheet.written_off)),
        Box::new(lots(rows, |lot| lot.expires_at)),
        Box::new(lots(rows, |lot| lot.delta)),
        Box::new(lots(rows, |lot| lot.expired)),
        Box::new(lots(rows, |lot| lot.spent)),
    ]
}

/// What the rows say of their lots, each row's as an array; none, where there are none.
fn lots<T: ToString>(rows: &[&Entry], field: fn(&LotChange) -> T) -> Vec<Option<String>> {
    column(rows, |row| (!row.effects.lots.is_empty()).then(|| array(row.effects.lots.iter().map(field))))
}

/// As PostgreSQL writes an array of numbers or times.
pub(super) fn array<T: ToString>(values: impl Iterator<Item = T>) -> String {
    let values: Vec<String> = values.map(|value| value.to_string()).collect();
    format!("{{{}}}", values.join(","))
}
