//! Bringing tables up to date: from nothing, again, and not from tables that no migration leads on from.

use loyalty_store::migrate::{self, MigrateError, migrate};

use crate::world::World;

/// A database of before the first release, as far as it tells.
const UNRELEASED: &str = "
    create table schema_migration (
        name text primary key, checksum text not null, applied_at timestamptz not null default now());
    insert into schema_migration (name, checksum) values ('0001_ledger', 'x'), ('0002_operator', 'y');
    create table member (member_id text collate \"C\" primary key)";

#[tokio::test]
async fn a_database_of_an_unreleased_version_is_refused_and_stays_as_it_was() {
    let world = World::empty().await;
    world.execute(UNRELEASED).await;

    let refused = migrate(&world.pool).await.expect_err("an old database");

    assert!(matches!(refused, MigrateError::Unreleased));
    let told = refused.to_string();
    assert!(told.contains("an unreleased version") && told.contains("new, empty database"), "{told}");
    let looked = migrate::pending(&world.pool).await.expect_err("an old database");
    assert_eq!(looked.to_string(), told);
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(world.number(tables).await, 2, "nothing was made");
    assert_eq!(world.number("select count(*) from schema_migration").await, 2);
}

#[tokio::test]
async fn an_empty_database_gets_all_tables_once() {
    let world = World::empty().await;
    assert_eq!(migrate::pending(&world.pool).await.expect("a look"), ["0001_schema", "0002_workers"]);
    assert_eq!(migrate(&world.pool).await.expect("the tables"), ["0001_schema", "0002_workers"]);
    assert_eq!(migrate::pending(&world.pool).await.expect("a look"), [""; 0]);
    assert_eq!(migrate(&world.pool).await.expect("a second time"), [""; 0]);
}

/// What grows with members can be spread by partition: it leads every key.
#[tokio::test]
async fn the_partition_leads_every_key_of_every_table_that_has_one() {
    let world = World::start().await;
    let without = "
        select count(*) from pg_constraint as c
        join pg_attribute as p on p.attrelid = c.conrelid and p.attname = 'partition'
        where c.contype in ('p', 'u') and c.conkey[1] <> p.attnum";
    assert_eq!(world.number(without).await, 0);
    let with = "select count(*) from information_schema.columns where column_name = 'partition'";
    assert_eq!(world.number(with).await, 12);
}
