//! `verify` against a real server: a sound database is clean, and each check finds the damage it is for.

mod deep;
mod money;

use std::collections::BTreeSet;

use loyalty_store::pool::PlannerProfile;
use loyalty_store::verify::{EXAMPLES_MAX, Report, verify};
use loyalty_testkit::Database;

/// Members whose rows show every rule: rewards, a second membership, a member without address, one who left, two
/// who were terminated, one whose points wait, emails in every state.
const SOUND: &str = include_str!("sound.sql");

/// One more row of the ledger, with these values, as of the time that its member is at.
macro_rules! entered {
    ($values:literal) => {
        concat!(
            "insert into ledger (partition, member_id, seq, command_id, epoch, type, code, points, delta, balance_after,
                 lifetime_delta, status_after, programme, occurred_at, recorded_at)
             select ",
            $values,
            ", 0, (select max(occurred_at) from ledger), now()"
        )
    };
}

/// Damage and the checks that must find it, by an owner who got around triggers and keys.
const DAMAGES: &[(&str, &[&str])] = &[
    ("alter table ledger disable trigger ledger_is_final", &["triggers"]),
    ("drop trigger ledger_is_not_truncated on ledger", &["triggers"]),
    (
        "drop trigger ledger_is_final on ledger;
      create trigger ledger_is_final before delete on ledger for each row execute function ledger_is_final()",
        &["triggers"],
    ),
    ("alter table ledger drop constraint ledger_partition_command_id_member_id_key", &["constraints"]),
    ("alter table dead_letter drop constraint dead_letter_partition_check", &["constraints"]),
    ("alter table member drop constraint member_balance_check", &["constraints"]),
    ("alter table email drop constraint email_partition_member_id_epoch_number_key", &["constraints"]),
    ("update member set balance = balance + 1 where member_id = 'ann'", &["balances"]),
    ("update member set lifetime = lifetime + 1 where member_id = 'dan'", &["lifetimes"]),
    ("update ledger set lifetime_delta = lifetime_delta + 1 where member_id = 'ann' and seq = 2", &["lifetimes"]),
    ("update member set last_seq = last_seq - 1 where member_id = 'ann'", &["standings"]),
    ("update member set status = 'active' where member_id = 'dan'", &["standings"]),
    ("update member set status = 'exited' where member_id = 'gus'", &["standings"]),
    ("update ledger set status_after = 'terminated' where member_id = 'dan' and seq = 2", &["standings"]),
    // Rows of two partitions are two members'.
    ("update ledger set partition = 4 where member_id = 'fay'", &["partitions", "known_members", "standings", "as_of"]),
    ("update parked set partition = 5", &["partitions", "known_members"]),
    ("update dead_letter set member_id = 'ann', email_id = null where reason = 'failed'", &["partitions"]),
    (
        "update member set partition = 4 where member_id = 'fay'; update ledger set partition = 4 where member_id = 'fay'",
        &["member_partitions"],
    ),
    ("delete from member where member_id = 'carl'", &["known_members"]),
    (
        "insert into parked (partition, member_id, command_id, body, parked_at)
      values (3, 'ann', gen_random_uuid(), '', now())",
        &["waiting"],
    ),
    (
        concat!(
            entered!("1, 'carl', 1, command_id, 0, 'earn', 'exited', 5, 0, 0, 0, null"),
            " from parked where member_id = 'carl' limit 1; update member set last_seq = 1 where member_id = 'carl'"
        ),
        &["waiting"],
    ),
    (
        "update ledger set seq = 9 where member_id = 'ann' and seq = 5; update member set last_seq = 9
      where member_id = 'ann'",
        &["places"],
    ),
    ("update ledger set balance_after = balance_after + 1 where member_id = 'ann' and seq = 4", &["running_sums"]),
    ("update ledger set epoch = 0 where member_id = 'ann' and seq = 5", &["entries"]),
    // An end of a membership that is none, so that the next enrolment is of somebody enrolled.
    ("update ledger set status_after = null where member_id = 'bob' and seq = 4", &["entries"]),
    (
        concat!(
            entered!("14, 'fay', 2, gen_random_uuid(), 2, 'enroll', null, null, 0, 0, 0, 'active'"),
            "; update member set last_seq = 2, epoch = 2 where member_id = 'fay'"
        ),
        &["entries"],
    ),
    (
        concat!(
            entered!("2, 'gus', 5, gen_random_uuid(), 2, 'enroll', null, null, 0, 0, 0, 'active'"),
            "; update member set last_seq = 5, epoch = 2, lifetime = 0, status = 'active' where member_id = 'gus'"
        ),
        &["entries"],
    ),
    (
        concat!(
            entered!("15, 'hal', 4, gen_random_uuid(), 1, 'terminate', null, null, 0, 0, 0, 'terminated'"),
            "; update member set last_seq = 4 where member_id = 'hal'"
        ),
        &["entries"],
    ),
    (
        concat!(
            entered!("1, 'carl', 1, gen_random_uuid(), 0, 'terminate', null, null, 0, 0, 0, 'terminated'"),
            "; delete from parked; update member set last_seq = 1 where member_id = 'carl'"
        ),
        &["entries", "standings"],
    ),
    (
        concat!(
            entered!("7, 'dan', 3, gen_random_uuid(), 1, 'earn', null, 5, 5, 5, 5, null"),
            "; alter table member drop constraint member_points_need_membership;
             update member set last_seq = 3, balance = 5, lifetime = 5 where member_id = 'dan'"
        ),
        &["constraints", "entries"],
    ),
    (
        "alter table ledger drop constraint ledger_refusal_has_no_effect;
      update ledger set lifetime_delta = 1 where member_id = 'ann' and seq = 5",
        &["constraints", "entries", "lifetimes"],
    ),
    (
        "alter table ledger drop constraint ledger_partition_command_id_member_id_key;
      update ledger set command_id = (select command_id from ledger where member_id = 'ann' and seq = 2)
      where member_id = 'ann' and seq = 3",
        &["constraints", "once"],
    ),
    (
        "update reward set number = 3 where member_id = 'bob' and epoch = 1 and number = 2;
      update email set number = 3 where member_id = 'bob' and epoch = 1 and number = 2",
        &["reward_numbers"],
    ),
    ("update member set milestone = 999 where member_id = 'ann'", &["reward_numbers"]),
    (
        "delete from reward where member_id = 'bob' and epoch = 2; delete from email where member_id = 'bob' and epoch = 2",
        &["reward_counts"],
    ),
    (
        "delete from reward where member_id = 'bob' and epoch = 1 and number = 2;
      delete from email where member_id = 'bob' and epoch = 1 and number = 2",
        &["reward_counts"],
    ),
    ("update reward set seq = 2 where member_id = 'ann'", &["reward_origins"]),
    ("update reward set seq = 4 where member_id = 'ann'", &["reward_origins"]),
    ("delete from email where member_id = 'ann'", &["one_email", "outbox"]),
    (
        "insert into email (partition, email_id, member_id, epoch, kind, number, state, created_at, updated_at)
      values (14, 'e0000000-0000-0000-0000-000000000009', 'eve', 1, 'reward', 1, 'no_address', now(), now())",
        &["one_email"],
    ),
    (
        "alter table email drop constraint email_partition_member_id_epoch_number_key;
      insert into email (partition, email_id, member_id, epoch, kind, number, state, created_at, updated_at)
      values (3, '30000000-0000-0000-0000-000000000009', 'ann', 1, 'reward', 1, 'no_address', now(), now())",
        &["constraints", "one_email"],
    ),
    ("update email set state = 'sent' where member_id = 'ann'", &["email_states"]),
    ("update email set state = 'retrying', attempts = 1 where member_id = 'ann'", &["email_states"]),
    ("delete from dead_letter", &["email_states"]),
    ("update outbox set message_id = gen_random_uuid()::text", &["outbox"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_is_found_by_the_check_that_is_for_it_and_a_sound_database_is_clean() {
    let world = World::start().await;
    let sound = world.damaged("").await;
    let report = verify(&sound.pool, |_| ()).await.expect("the checks run");
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.checks.iter().all(|finding| finding.examined > 0), "the example leaves nothing out: {report:#?}");

    let mut tried = BTreeSet::new();
    for (damage, expected) in DAMAGES.iter().chain(money::DAMAGES) {
        let damaged = world.damaged(damage).await;
        let report = verify(&damaged.pool, |_| ()).await.expect("the checks run");
        assert_eq!(found(&report), expected.iter().copied().collect(), "after {damage}: {report:#?}");
        tried.extend(expected.iter().copied());
    }
    let all: BTreeSet<_> = report.checks.iter().map(|finding| finding.name).collect();
    assert_eq!(tried, all, "every check has its damage");
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_bounded_and_all_damage_is_counted() {
    let world = World::start().await;
    let strangers = entered!("0, 'x' || n, 1, gen_random_uuid(), 0, 'exit', 'not_a_member', null, 0, 0, 0, null");
    let strangers = format!("{strangers} from generate_series(1, 1000) as n");
    let report = verify(&world.damaged(&strangers).await.pool, |_| ()).await.expect("the checks run");
    let finding = report.checks.iter().find(|finding| finding.name == "known_members").expect("the check is there");
    assert_eq!((finding.broken, finding.examples.len()), (1_000, usize::try_from(EXAMPLES_MAX).expect("a few")));
    assert_eq!(finding.examples[0].subject, "member x1");
}

fn found(report: &Report) -> BTreeSet<&'static str> {
    report.checks.iter().filter(|finding| finding.broken > 0).map(|finding| finding.name).collect()
}

/// A database that holds [`SOUND`] and the members of [`money`], of which each test takes copies.
struct World(Database);

impl World {
    async fn start() -> Self {
        let sound = Database::start("verify").await;
        // On a connection that ends here: a database that somebody uses cannot be copied.
        sound
            .pool_for(PlannerProfile::Queries, 1)
            .get()
            .await
            .expect("a connection")
            .batch_execute(SOUND)
            .await
            .expect("it fits");
        money::write(&sound).await;
        Self(sound)
    }

    /// A copy of the sound database, damaged.
    async fn damaged(&self, damage: &str) -> Database {
        let copy = self.0.copy().await;
        // As a replica, the triggers do not run. On a connection of its own, which ends here.
        let connection = copy.pool_for(PlannerProfile::Queries, 1).get().await.expect("a connection");
        connection.batch_execute(&format!("set session_replication_role = replica; {damage}")).await.expect(damage);
        copy
    }
}
