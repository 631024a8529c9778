//! The reads against a real server, on the example that `verify` holds for sound, and on a large ledger for the plans.

use std::collections::HashMap;

use loyalty_common::{Action, Command, CommandId, Earn, MemberId, Outcome, Points, RefusalCode};
use loyalty_ledger::{CommandContent, CommandKey, MemberStatus};
use loyalty_store::dead_letters;
use loyalty_store::emails::EmailState;
use loyalty_store::pool::{PlannerProfile, Pool};
use loyalty_store::read::{self, CommandState, Filter};
use loyalty_testkit::Database;
use tokio_postgres::types::ToSql;

const SOUND: &str = include_str!("verify/sound.sql");

fn id(text: &str) -> MemberId {
    text.parse().expect("a member id")
}

fn names(members: &[read::Member]) -> Vec<&str> {
    members.iter().map(|member| member.member_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_found_by_id_and_listed_page_by_page_and_by_points() {
    let world = World::start(SOUND).await;
    let pool = world.pool(PlannerProfile::Queries);

    let ann = read::member(&pool, &id("ann")).await.expect("a read").expect("a member");
    let (ann, lots, holds) = (ann.member, ann.lots, ann.holds);
    assert_eq!((ann.status, ann.balance, ann.lifetime, ann.epoch), (MemberStatus::Active, 510, 1_010, 1));
    assert!(ann.has_email && lots.is_empty() && holds.is_empty());
    let dan = read::member(&pool, &id("dan")).await.expect("a read").expect("past members stay known");
    assert_eq!(dan.member.status, MemberStatus::Exited);
    // Commands wait for carl, but he was never enrolled.
    assert_eq!(read::member(&pool, &id("carl")).await.expect("a read"), None);
    assert_eq!(read::member(&pool, &id("nobody")).await.expect("a read"), None);

    let all = Filter::default();
    let first = read::members(&pool, &all, None, 2).await.expect("a page");
    assert_eq!(names(&first), ["ann", "bob"]);
    let rest = read::members(&pool, &all, Some(&id("bob")), 10).await.expect("a page");
    assert_eq!(names(&rest), ["dan", "eve", "fay", "gus", "hal"]);
    let rich = Filter { points_min: Some(510), status: Some(MemberStatus::Active), ..Filter::default() };
    assert_eq!(names(&read::members(&pool, &rich, None, 10).await.expect("a page")), ["ann", "bob", "eve"]);
    assert_eq!(names(&read::top_members(&pool, &all, 2).await.expect("a page")), ["eve", "bob"]);
    let unenrolled = Filter { status: Some(MemberStatus::Unenrolled), ..Filter::default() };
    assert_eq!(names(&read::members(&pool, &unenrolled, None, 10).await.expect("a page")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_read_as_receipts_and_rewards_with_their_emails() {
    let world = World::start(SOUND).await;
    let pool = world.pool(PlannerProfile::Keys);

    let first = read::ledger(&pool, &id("ann"), 0, 3).await.expect("a page");
    let rest = read::ledger(&pool, &id("ann"), 3, 10).await.expect("a page");
    assert_eq!(first.iter().chain(&rest).map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let refused = &rest[1];
    assert_eq!((refused.outcome, refused.code), (Outcome::Refused, Some(RefusalCode::InsufficientPoints)));
    let again = read::receipt(&pool, &id("ann"), refused.command_id).await.expect("a read");
    assert_eq!(again.as_ref(), Some(refused));
    // The id is scoped to the member.
    assert_eq!(read::receipt(&pool, &id("bob"), refused.command_id).await.expect("a read"), None);

    let rewards = read::rewards(&pool, &id("bob"), 10).await.expect("a page");
    let emails: Vec<_> = rewards.iter().map(|reward| (reward.epoch, reward.number, reward.email.state)).collect();
    assert_eq!(emails, [(2, 1, EmailState::NoAddress), (1, 2, EmailState::Dead), (1, 1, EmailState::Sent)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_outcomes_come_in_one_answer() {
    let world = World::start(SOUND).await;
    let pool = world.pool(PlannerProfile::Keys);
    let dead_letters = "insert into dead_letter (partition, source, reason, error, member_id, command_id, exchange,
        routing_key, headers, body, digest, attempts, first_at, last_at) values
        (3, 'loyalty.commands.03', 'failed', 'too odd', 'ann', '00000000-0000-0000-0000-00000000000a', '', '', '{}', '',
         '', 1, now(), now() - interval '1 hour'),
        (3, 'loyalty.commands.03', 'crashed', 'again', 'ann', '00000000-0000-0000-0000-00000000000a', '', '', '{}', '',
         '', 1, now(), now())";
    pool.get().await.expect("a connection").batch_execute(dead_letters).await.expect("dead letters");
    let decided = read::ledger(&pool, &id("ann"), 0, 1).await.expect("a page").remove(0);
    let waiting = Command::new(id("carl"), Action::Earn(Earn { points: Points::try_new(5).expect("points") }));
    let park = "insert into parked (partition, member_id, command_id, body, parked_at)
        values (1, 'carl', $1, $2, now())";
    let parameters: [&(dyn ToSql + Sync); 2] = [&waiting.command_id.uuid(), &waiting.encode()];
    pool.get().await.expect("a connection").execute(park, &parameters).await.expect("a parked command");
    let dead = "00000000-0000-0000-0000-00000000000a".parse().expect("a UUID");
    let keys: Vec<CommandKey> = vec![
        (id("ann"), decided.command_id),
        (id("carl"), waiting.command_id),
        (id("ann"), dead),
        (id("ann"), CommandId::fresh()),
        (id("nobody"), decided.command_id),
    ];

    let states = read::command_states(&pool, &keys).await.expect("states");

    assert_eq!(states.len(), 3, "{states:?}");
    assert!(matches!(&states[&keys[0]], CommandState::Decided { receipt, .. } if **receipt == decided));
    assert_eq!(states[&keys[1]], CommandState::Parked { content: Some(CommandContent::of(&waiting)) });
    let newest =
        |state: &CommandState| matches!(state, CommandState::DeadLetter { reason: dead_letters::Reason::Crashed, .. });
    assert!(newest(&states[&keys[2]]), "{states:?}");
    assert_eq!(read::command_states(&pool, &[]).await.expect("states"), HashMap::new());
}

/// The plan is made while the tables are empty, by a connection that lives on while they grow. Nobody is looked up
/// there who is found, so the partitions are as good as any.
#[tokio::test(flavor = "multi_thread")]
async fn the_outcomes_are_looked_up_by_index_even_after_the_tables_have_grown() {
    const ROWS: &str = "
        insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, updated_at)
            select n % 16, 'm' || n, 'active', 1, 0, 0, 1, now() from generate_series(1, 100000) as n;
        insert into ledger (partition, programme, member_id, seq, command_id, epoch, type, delta, lifetime_delta,
            status_after, balance_after, occurred_at, recorded_at)
            select n % 16, 0, 'm' || n, 1, gen_random_uuid(), 1, 'enroll', 0, 0, 'active', 0, now(), now()
            from generate_series(1, 100000) as n;
        insert into dead_letter (partition, source, reason, error, member_id, command_id, exchange, routing_key,
            headers, body, digest, attempts, first_at, last_at)
            select n % 16, 'q', 'failed', '', 'm' || n, gen_random_uuid(), '', '', '{}', '', '', 1, now(), now()
            from generate_series(1, 100000) as n;
        insert into parked (partition, member_id, command_id, body, parked_at)
            select n % 16, 'p' || n, gen_random_uuid(), '', now() from generate_series(1, 100000) as n;";
    let world = World::start("").await;
    let pool = world.pool(PlannerProfile::Keys);
    let keys: Vec<CommandKey> = (1..=1_000).map(|n| (id(&format!("m{n}")), CommandId::fresh())).collect();
    for _ in 0..10 {
        // Often enough for the server to settle on one plan for all parameters.
        read::command_states(&pool, &keys).await.expect("states");
    }
    world
        .pool(PlannerProfile::Queries)
        .get()
        .await
        .expect("a connection")
        .batch_execute(ROWS)
        .await
        .expect("many rows");

    let before = world.rows_scanned(&pool).await;
    read::command_states(&pool, &keys).await.expect("states");
    assert_eq!(world.rows_scanned(&pool).await - before, 0, "rows read in sequence");

    // And a scan would have been seen.
    let other = world.pool(PlannerProfile::Queries);
    other.get().await.expect("a connection").batch_execute("select sum(epoch) from ledger").await.expect("a scan");
    assert_eq!(world.rows_scanned(&other).await - before, 100_000);
}

/// A database that holds an example.
struct World(Database);

impl World {
    async fn start(content: &str) -> Self {
        let database = Database::start("read").await;
        database.execute(content).await;
        Self(database)
    }

    /// How many rows were read by scans of whole tables. A session reports its counts late unless it is told to.
    async fn rows_scanned(&self, reporting: &Pool) -> i64 {
        const SUM: &str = "
            select sum(seq_tup_read)::bigint from pg_stat_user_tables
            where relname in ('ledger', 'parked', 'dead_letter')";
        let flush = "select pg_stat_force_next_flush()";
        reporting.get().await.expect("a connection").batch_execute(flush).await.expect("a flush");
        let client = self.pool(PlannerProfile::Queries).get().await.expect("a connection");
        client.query_one(SUM, &[]).await.expect("a sum").get(0)
    }

    fn pool(&self, profile: PlannerProfile) -> Pool {
        self.0.pool_for(profile, 1)
    }
}
