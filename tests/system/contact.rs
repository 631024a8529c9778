//! What becomes of a member's address and name: in their row and nowhere else, and gone with the membership.

use std::fmt::Write as _;

use loyalty_common::{Action, Change, Command, Earn, Enroll, Exit, Terminate, Update};
use loyalty_local::Behaviour;
use loyalty_tests::publish::command;
use loyalty_tests::{Setup, World, eventually, points};
use sha2::{Digest, Sha256};

const ADDRESS: &str = "ann.smith@example.org";
const NAME: &str = "Annabel Musterfrau";

/// An enrolment with address and name.
fn enrolment(member: &str) -> Command {
    command(member, Action::Enroll(Enroll { email: ADDRESS.parse().ok(), name: NAME.parse().ok() }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Every row of every table in which the text stands: as it is, in a column of bytes, or as its SHA-256.
async fn rows_with(world: &World, text: &str) -> Vec<String> {
    let needles = [text.to_lowercase(), hex(text.as_bytes()), hex(&Sha256::digest(text))];
    let tables = world.query("select tablename::text from pg_tables where schemaname = 'public'", &[]).await;
    assert!(tables.len() > 10, "these are not all tables");
    let mut found = Vec::new();
    for table in tables.iter().map(|row| row.get::<_, String>(0)) {
        for row in world.query(&format!("select t::text from {table} as t"), &[]).await {
            let row: String = row.get(0);
            if needles.iter().any(|needle| row.to_lowercase().contains(needle)) {
                found.push(format!("{table}: {row}"));
            }
        }
    }
    found
}

/// Everything that the system does with an address, and then the end of the membership.
async fn leaves_nothing_behind(end: Action) {
    let world = Setup::default().events().start().await;
    world.mailbox.set(Behaviour::PermanentForDomain("example.org".to_owned())).await.expect("an open port");
    let worker = world.worker().await;
    let enrolment = enrolment("ann");
    world.publish(&enrolment).await;
    world.publish(&enrolment).await;
    world.publish(&self::enrolment("ann")).await; // Refused: she is a member.
    world.earn("ann", 1_000).await;
    world.reaches("ann", "dead").await;
    world.mailbox.set(Behaviour::TransientAtRcpt).await.expect("an open port");
    world.earn("ann", 1_000).await;
    world.reaches("ann", "retrying").await;
    let [row] = &rows_with(&world, ADDRESS).await[..] else { panic!("the member's row alone has the address") };
    assert!(row.starts_with("member: "), "{row}");
    assert_eq!(rows_with(&world, NAME).await, std::slice::from_ref(row));

    world.ask("ann", Action::Earn(Earn { points: points(1_000) })).await;
    world.ask("ann", end).await;
    world.settled().await;

    // The third was perhaps being sent when the membership ended, which then comes to the same.
    let ended = ["1 at 1000: dead", "2 at 2000: no_address", "3 at 3000: no_address"];
    eventually("no email goes anywhere", async || (world.rewards("ann").await == ended).then_some(())).await;
    assert_eq!((rows_with(&world, ADDRESS).await, rows_with(&world, NAME).await), (Vec::new(), Vec::new()));
    world.mailbox.set(Behaviour::Accept).await.expect("an open port");
    let retry = ["emails", "retry", "--state", "dead", "--yes", "--note", "once more"];
    let retried = world.loyalty(&retry).await.end().await;
    assert!(
        retried.output.contains("no_address; left as it is"),
        "a dead email has nowhere to go either: {}",
        retried.output
    );
    world.mailed().await;
    // The same id with another address: nobody knows any more whether it is the same.
    let again = Action::Enroll(Enroll { email: "bob@example.org".parse().ok(), name: NAME.parse().ok() });
    world.publish(&Command { action: again, ..enrolment }).await;
    world.settled().await;
    assert_eq!(world.story("ann").await.len(), 6, "nothing was added");
    assert_eq!(world.dead_letters().await.len(), 1, "the one of the email");
    assert_eq!(world.mailbox.emails(), []);
    assert!(!worker.log().contains("ann.smith") && !worker.log().contains("Musterfrau"), "{}", worker.log());
    world.verified().await;
}

#[tokio::test]
async fn who_exits_stands_in_no_table_any_more_by_address_or_name_and_gets_no_email() {
    leaves_nothing_behind(Action::Exit(Exit)).await;
}

#[tokio::test]
async fn who_is_terminated_stands_in_no_table_any_more_by_address_or_name_and_gets_no_email() {
    leaves_nothing_behind(Action::Terminate(Terminate)).await;
}

#[tokio::test]
async fn while_the_membership_lasts_an_id_used_again_for_another_address_is_a_conflict() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let enrolment = enrolment("ann");
    world.publish(&enrolment).await;
    let others = [
        Action::Enroll(Enroll { email: "bob@example.org".parse().ok(), name: NAME.parse().ok() }),
        Action::Enroll(Enroll { email: None, name: "Bob".parse().ok() }),
    ];
    for action in others {
        world.publish(&Command { action, ..enrolment.clone() }).await;
    }
    world.publish(&enrolment).await;
    world.settled().await;
    let errors: Vec<String> = world.dead_letters().await.into_iter().map(|dead_letter| dead_letter.error).collect();
    let used = "the command id was used before with another";
    assert_eq!(errors, [format!("{used} email"), format!("{used} email, name")]);
    assert_eq!(world.story("ann").await, ["enroll applied = 0"]);
    world.verified().await;
}

/// The emails of the membership that ended are not for the one that begins, whoever it is of.
#[tokio::test]
async fn an_email_of_an_earlier_membership_is_not_sent_to_the_address_of_the_next() {
    let world = World::start().await;
    world.enroll_with_email("ann", ADDRESS).await;
    world.earn("ann", 1_000).await;
    world.exit("ann").await;
    world.enroll_with_email("ann", "bob@example.org").await;
    world.earn("ann", 1_000).await;
    // Started late, it finds all of them in one batch.
    let _worker = world.worker().await;
    world.settled().await;
    world.mailed().await;
    assert_eq!(world.rewards("ann").await, ["1 at 1000: no_address", "1 at 1000: sent"]);
    let recipients: Vec<String> = world.mailbox.emails().into_iter().map(|email| email.recipient).collect();
    assert_eq!(recipients, ["bob@example.org"]);
    world.verified().await;
}

#[tokio::test]
async fn an_update_sets_changes_and_clears_the_address_and_emails_not_sent_yet_follow_it() {
    let world = Setup::default().events().start().await;
    world.mailbox.set(Behaviour::TransientAtRcpt).await.expect("an open port");
    let worker = world.worker().await;
    world.enroll("ann").await;
    world.earn("ann", 1_000).await;
    world.settled().await;
    assert_eq!(world.rewards("ann").await, ["1 at 1000: no_address"]);
    // As an operator corrects an address that was never given, and then one that was wrong.
    let update = async |arguments: &[&str]| {
        let told =
            world.loyalty(&[&["publish", "update", "ann", "--wait", "30s"], arguments].concat()).await.end().await;
        assert_eq!((told.code, told.output.starts_with("applied: update ann\n")), (Some(0), true), "{}", told.output);
    };
    update(&["--email", "ann@wrong.example", "--name", "Ann"]).await;
    world.earn("ann", 1_000).await;
    world.reaches("ann", "retrying").await;
    update(&["--email", ADDRESS]).await;
    world.mailbox.set(Behaviour::Accept).await.expect("an open port");
    world.mailed().await;
    update(&["--clear-email", "--clear-name"]).await;
    world.earn("ann", 1_000).await;
    world.settled().await;
    world.mailed().await;

    let told: Vec<_> =
        world.mailbox.emails().into_iter().map(|email| (email.recipient.clone(), email.text())).collect();
    let [(recipient, text)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(recipient, ADDRESS);
    assert!(text.contains("Ann"), "the name stays as it was: {text}");
    // What had ended without an address stays so.
    assert_eq!(world.rewards("ann").await, ["1 at 1000: no_address", "2 at 2000: sent", "3 at 3000: no_address"]);
    for gone in [ADDRESS, "ann@wrong.example"] {
        assert_eq!(rows_with(&world, gone).await, [""; 0]);
    }
    assert_eq!(world.count("member where contact_key is not null").await, 0);
    assert_eq!(world.count("ledger where type = 'update' and code is null and delta = 0").await, 3);
    assert!(!worker.log().contains("ann.smith"), "{}", worker.log());
    world.verified().await;
}

#[tokio::test]
async fn an_update_of_nobody_and_of_who_has_left_is_refused_and_does_not_wait() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let update = |email: Change<_>| Action::Update(Update::try_new(email, Change::Keep).expect("a change"));
    let set = || update(Change::Set(ADDRESS.parse().expect("an address")));
    world.ask("nobody", set()).await;
    for (member, end) in [("ann", Action::Exit(Exit)), ("bob", Action::Terminate(Terminate))] {
        world.enroll(member).await;
        world.ask(member, end).await;
        world.ask(member, set()).await;
    }
    world.settled().await;
    assert_eq!(world.story("nobody").await, ["update not_a_member = 0"]);
    assert_eq!(world.story("ann").await[2..], ["update exited = 0"]);
    assert_eq!(world.story("bob").await[2..], ["update terminated = 0"]);
    assert_eq!(world.count("parked").await, 0);
    assert_eq!(rows_with(&world, ADDRESS).await, [""; 0]);
    world.verified().await;
}

#[tokio::test]
async fn an_update_is_the_same_if_all_that_it_says_is_and_null_is_not_absence() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll_with_email("ann", "ann@wrong.example").await;
    let update = |email, name| Action::Update(Update::try_new(email, name).expect("a change"));
    let set = || Change::Set(ADDRESS.parse().expect("an address"));
    let first = command("ann", update(set(), Change::Keep));
    world.publish(&first).await;
    world.publish(&first).await;
    for (email, name) in [(set(), Change::Clear), (Change::Clear, Change::Keep), (Change::Keep, Change::Clear)] {
        world.publish(&Command { action: update(email, name), ..first.clone() }).await;
    }
    world.settled().await;
    let errors: Vec<String> = world.dead_letters().await.into_iter().map(|dead_letter| dead_letter.error).collect();
    let used = "the command id was used before with another";
    assert_eq!(errors, [format!("{used} name"), format!("{used} email"), format!("{used} email, name")]);
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "update applied = 0"]);
    assert_eq!(world.count(&format!("member where email = '{ADDRESS}'")).await, 1);
    world.verified().await;
}
