//! Each row decided again, and the balance sheet.

use loyalty_store::pool::PlannerProfile;
use loyalty_store::verify::{BalanceSheet, Finding, refold_members, verify};
use loyalty_testkit::Database;

use super::{World, found, money};

/// A row and all that follows from it, changed so that every sum agrees.
const FORGERY: &str = "
    update ledger set delta = delta + 7, issued = issued + 7, lifetime_delta = lifetime_delta + 7,
                      balance_after = balance_after + 7, lot_deltas[1] = lot_deltas[1] + 7
    where member_id = 'kim' and epoch = 2 and issued > 0;
    update member set balance = balance + 7, lifetime = lifetime + 7 where member_id = 'kim';
    update lot set remaining = remaining + 7 where member_id = 'kim' and epoch = 2";

#[tokio::test(flavor = "multi_thread")]
async fn a_forgery_in_which_every_sum_agrees_is_found_when_each_row_is_decided_again() {
    let world = World::start().await;
    let finding = deep(&world.damaged("").await).await;
    assert_eq!((finding.broken, finding.examined), (0, 12), "{finding:#?}");

    let forged = world.damaged(FORGERY).await;
    let report = verify(&forged.pool, |_| ()).await.expect("the checks run");
    assert!(report.is_clean(), "{:?}", found(&report));
    let problems = problems(&deep(&forged).await);
    for problem in [
        "member kim seq 11: delta does not follow from the rows before it",
        "member kim seq 11: sheet does not follow from the rows before it",
        "member kim: the balance is 12, its rows come to 5",
        "member kim: the lots are not those that the rows come to",
    ] {
        assert!(problems.iter().any(|it| it == problem), "{problem}: {problems:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_has_is_compared_with_what_the_rows_come_to() {
    let world = World::start().await;
    let check = async |damage: &str, problem: &str| {
        let problems = problems(&deep(&world.damaged(damage).await).await);
        assert_eq!(problems, [problem], "after {damage}");
    };
    let of_rows = "does not follow from the rows before it";
    check(
        "update member set milestone = 999 where member_id = 'ivy'",
        "member ivy: the milestone is 999, its rows come to 1000",
    )
    .await;
    check("update member set debt = 401 where member_id = 'jon'", "member jon: the debt is 401, its rows come to 400")
        .await;
    check(
        "update lot set expires_on = expires_on + 1 where member_id = 'ivy' and remaining > 0",
        "member ivy: the lots are not those that the rows come to",
    )
    .await;
    check("delete from hold where member_id = 'ivy'", "member ivy: the holds are not those that the rows come to")
        .await;
    check(
        "update ledger set code = 'exited' where member_id = 'kim' and code is not null",
        &format!("member kim seq 10: code {of_rows}"),
    )
    .await;
    check(
        "update ledger set reversed_after = 9 where member_id = 'jon' and target_id is not null",
        &format!("member jon seq 4: reversed_after {of_rows}"),
    )
    .await;
}

/// More than are in memory at once, of a member who stands before another one of the same partition.
const MANY_ROWS: &str = "
    insert into ledger (partition, member_id, seq, command_id, epoch, type, points, delta, balance_after,
                        lifetime_delta, programme, occurred_at, recorded_at)
    select 14, 'eve', 2 + n, gen_random_uuid(), 1, 'earn', 1, 1, 5000 + n, 1, 0,
           (select max(occurred_at) from ledger), now()
    from generate_series(1, 9000) as n;
    update member set last_seq = 9002, balance = 14000, lifetime = 14000 where member_id = 'eve';";

/// The guard: rows are read in parts, and none is lost between two of them, nor taken for another member's.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_have_more_rows_than_are_read_at_once() {
    let world = World::start().await;
    let check = async |damage: &str, examined: i64, expected: &[&str]| {
        let finding = deep(&world.damaged(&format!("{MANY_ROWS}{damage}")).await).await;
        assert_eq!(problems(&finding), expected);
        assert_eq!(finding.examined, examined);
    };
    check("", 12, &[]).await;
    check("delete from member where member_id = 'eve'", 11, &[]).await;
    let damage = "update member set balance = balance + 1 where member_id in ('eve', 'fay')";
    check(
        damage,
        12,
        &[
            "member eve: the balance is 14001, its rows come to 14000",
            "member fay: the balance is 1, its rows come to 0",
        ],
    )
    .await;
}

/// The guard: a partition is read to its end, page by page.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_may_have_more_members_than_are_read_at_once() {
    let world = World::start().await;
    let many = "
        insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, updated_at)
        select 14, 'zoe-' || to_char(n, 'FM000'), 'unenrolled', 0, 0, 0, 0, now() from generate_series(1, 450) as n;
        update member set status = 'active', epoch = 1, balance = 7 where member_id in ('zoe-250', 'zoe-450')";
    let finding = deep(&world.damaged(many).await).await;
    assert_eq!(finding.examined, 12 + 450);
    let problems = problems(&finding);
    for last in ["zoe-250", "zoe-450"] {
        let problem = format!("member {last}: the balance is 7, its rows come to 0");
        assert!(problems.contains(&problem), "{problem}: {problems:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balance_sheet_says_where_all_points_came_from_and_went() {
    let database = Database::start("sheet").await;
    money::write(&database).await;
    let report = verify(&database.pool, |_| ()).await.expect("the checks run");
    let sheet = BalanceSheet {
        issued: 1_560 + 500 + 305 + 200,
        reversed: 500 + 200,
        debt: 400,
        written_off: 150,
        points: 60 + 5,
        held: 90,
        spent: 1_390 + 400 + 70 + 150,
        expired: 20,
        forfeited: 230,
        balances: true,
    };
    assert_eq!(report.balance_sheet, sheet);
    assert_eq!(sheet.sources(), sheet.uses());

    database.execute("update member set balance = balance + 1 where member_id = 'ivy'").await;
    let report = verify(&database.pool, |_| ()).await.expect("the checks run");
    assert_eq!(report.balance_sheet, BalanceSheet { points: 66, balances: false, ..sheet });
    assert!(!report.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_two_programmes_at_work_at_once_are_told_and_break_nothing() {
    let second = "
        insert into programme (digest, text, first_used_at) select sha256('{}'), '{}', now();
        update ledger set programme = 1, recorded_at = now() - interval '5 h';
        update ledger set programme = 2, recorded_at = now() - interval '3 h' where member_id >= 'jon';";
    let world = World::start().await;
    let warnings = async |damage: &str| {
        let report = verify(&world.damaged(damage).await.pool, |_| ()).await.expect("the checks run");
        assert!(report.is_clean(), "{:?}", found(&report));
        report.warnings.into_iter().map(|warning| warning.name).collect::<Vec<_>>()
    };
    let back = "update ledger set recorded_at = now() - interval '1 h' where member_id = 'ivy'";
    assert_eq!(warnings(second).await, [""; 0], "one after the other");
    assert_eq!(warnings(&format!("{second}{back}")).await, ["mixed_programmes"]);
    let long_ago = "; update ledger set recorded_at = recorded_at - interval '2 d'";
    assert_eq!(warnings(&format!("{second}{back}{long_ago}")).await, [""; 0]);
}

async fn deep(database: &Database) -> Finding {
    let mut told = 0;
    let pool = database.pool_for(PlannerProfile::Keys, 2);
    let finding = refold_members(&pool, 2, |done| told = done).await.expect("every member is folded");
    assert_eq!(told, finding.examined);
    finding
}

fn problems(finding: &Finding) -> Vec<String> {
    finding.examples.iter().map(|broken| format!("{}: {}", broken.subject, broken.problem)).collect()
}
