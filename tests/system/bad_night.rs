//! The bad night, whole: the mail server is down and then worse, a partner sends garbage, one command kills its
//! workers, a worker is lost. And the morning after, in which an operator finds out and repairs what can be repaired.
//!
//! The numbers are a small shop's night. Only time is shortened: retry delays of seconds, a mail server that is waited
//! for one second, and a claim of a killed mailer that ends at once. Who gets no emails does all that members do, over
//! years, and their points expire.

use std::collections::{BTreeMap, HashMap};

use loyalty_common::Command;
use loyalty_local::Behaviour;
use loyalty_tests::poison::Poison;
use loyalty_tests::publish::Raw;
use loyalty_tests::{Program, SecondOpinion, Setup, World, eventually};
use tokio_postgres::Row;
use uuid::Uuid;

mod morning;
mod night;

use night::{Bad, REFUSED_DOMAIN, Round, deadly, gets_emails};

/// A mail server that is quick to be given up, and asked by many at once, so that a night is short.
const MAIL: &str = "answer_seconds = 1\nconnections = 16";

/// Emails whose delivery is unknown to wait for: more than one connection's.
const UNKNOWN_EMAILS: i64 = 20;

#[tokio::test]
async fn after_a_bad_night_nothing_is_lost_or_doubled_and_what_can_be_mended_is() {
    let world = Setup::default().mail(MAIL).points_expire().start().await;
    let night = Night::new();
    let (_worker, poison) = night.pass(&world).await;
    let mut opinion = world.second_opinion();
    opinion.hear(night.good());
    opinion.is_the_ledger(&world).await;
    night.has_its_dead_letters(&world).await;
    every_email_is_accounted_for(&world, &opinion).await;
    assert_eq!(world.operate(&["verify", "--deep"]).await.code, 0);

    poison.cure(&world).await;
    world.mailbox.set(Behaviour::Accept).await.expect("an open port");
    let fixed = morning::repair(&world, &night).await;
    opinion.hear(&fixed);
    opinion.is_the_ledger(&world).await;
    every_email_is_sent(&world, &opinion).await;
    morning::nothing_more_to_do(&world).await;
    assert_eq!(world.operate(&["verify", "--deep"]).await.code, 0);
}

/// What is published.
struct Night {
    rounds: [Round; 5],
    deadly: Command,
}

impl Night {
    fn new() -> Self {
        Self { rounds: night::rounds(), deadly: deadly() }
    }

    fn good(&self) -> impl Iterator<Item = &Command> {
        self.rounds.iter().flat_map(|round| &round.good)
    }

    fn bad(&self) -> impl Iterator<Item = &Bad> {
        self.rounds.iter().flat_map(|round| &round.bad)
    }

    /// Publishes everything while everything goes wrong, and waits until all of it has its outcome. Answers the worker
    /// that lives.
    async fn pass(&self, world: &World) -> (Program, Poison) {
        let poison = world.poison().await;
        let worker = self.mail_server_is_down_and_a_command_kills(world).await;
        self.mail_server_hangs(world).await;
        let worker = self.mail_server_refuses_and_a_worker_is_lost(world, worker).await;
        world.settled().await;
        (worker, poison)
    }

    async fn mail_server_is_down_and_a_command_kills(&self, world: &World) -> Program {
        world.mailbox.set(Behaviour::RefuseConnection).await.expect("a closed port");
        let worker = world.worker().await;
        let [first, second, ..] = &self.rounds;
        world.send_all(&first.messages).await;
        world.settled().await;
        let (before, after) = second.messages.split_at(second.messages.len() / 2);
        world.send_all(before).await;
        world.send_all(&[Raw::of(&self.deadly)]).await;
        world.send_all(after).await;
        let set_aside = async || world.count("dead_letter where reason = 'crashed'").await > 0;
        let (worker, dead) = world.outlive(worker, set_aside).await;
        assert!(dead > 0, "it kills");
        reaches(world, "email where attempts > 0", 1).await;
        worker
    }

    async fn mail_server_hangs(&self, world: &World) {
        world.mailbox.set(Behaviour::HangAfterData).await.expect("an open port");
        world.send_all(&self.rounds[2].messages).await;
        reaches(world, "email where state = 'unknown'", UNKNOWN_EMAILS).await;
    }

    async fn mail_server_refuses_and_a_worker_is_lost(&self, world: &World, worker: Program) -> Program {
        world.mailbox.set(Behaviour::PermanentForDomain(REFUSED_DOMAIN.to_owned())).await.expect("an open port");
        let successor = world.worker().await;
        successor.says("Consuming commands").await;
        let [.., fourth, fifth] = &self.rounds;
        let lost = async {
            world.applies(500).await;
            worker.kill().await;
        };
        tokio::join!(world.send_all(&fourth.messages), lost);
        world.send_all(&fifth.messages).await;
        successor
    }

    /// Five hundred and one dead letters, each with the reason of its kind and byte for byte. Beside them, one for each
    /// email that was given up.
    async fn has_its_dead_letters(&self, world: &World) {
        let mut expected: BTreeMap<&[u8], &str> = self.bad().map(|bad| (bad.raw.body(), bad.kind.reason())).collect();
        let deadly = self.deadly.encode();
        expected.insert(&deadly, "crashed");
        let dead_letters = world.dead_letters().await;
        let (emails, dead_letters): (Vec<_>, Vec<_>) =
            dead_letters.iter().partition(|it| it.source == "loyalty.emails");
        assert_eq!((self.good().count(), self.bad().count(), dead_letters.len()), (10_000, 500, 501));
        let found: BTreeMap<&[u8], &str> = dead_letters.iter().map(|it| (&*it.body, &*it.reason)).collect();
        assert_eq!(found, expected);

        let mut by_reason: BTreeMap<&str, i64> = BTreeMap::new();
        for reason in expected.into_values().chain(emails.iter().map(|it| it.reason.as_str())) {
            *by_reason.entry(reason).or_default() += 1;
        }
        let told = world.operate(&["dead-letters", "list", "--by", "reason"]).await.json;
        let told = told.as_array().expect("a list").iter();
        let told =
            told.map(|it| (it["key"].as_str().expect("a reason"), it["dead_letters"].as_i64().expect("a number")));
        assert_eq!(told.collect::<BTreeMap<_, _>>(), by_reason);
    }
}

async fn reaches(world: &World, rows: &str, count: i64) {
    let enough = async || (world.count(rows).await >= count).then_some(());
    eventually(&format!("{count} of {rows}"), enough).await;
}

/// Every reward has its email, and every email is sent once, given up with a dead letter, or held because nobody knows.
async fn every_email_is_accounted_for(world: &World, opinion: &SecondOpinion) {
    const ON_ITS_WAY: &str = "email where state in ('queued', 'sending', 'retrying')";
    let done = async || {
        world.time_passes_for_emails().await;
        (world.count(ON_ITS_WAY).await + world.count("outbox").await == 0).then_some(())
    };
    eventually("every email is sent, held or given up", done).await;
    let (states, copies) = (email_states(world).await, copies(world));
    assert_eq!(states.len(), opinion.rewards_of(gets_emails));
    for (email_id, state) in &states {
        let copies = copies.get(email_id).copied().unwrap_or_default();
        let possible = match state.as_str() {
            "sent" => 1..=1,
            "dead" => 0..=0,
            "unknown" => 0..=1,
            other => panic!("an email is {other}"),
        };
        assert!(possible.contains(&copies), "{email_id} is {state} and has arrived {copies} times");
    }
    let is = |state: &str| states.values().filter(|it| *it == state).count();
    assert!(is("sent") > 0 && is("dead") > 0 && is("unknown") > 0, "each kind is met: {states:?}");
    let dead_letters = world.count("dead_letter where email_id is not null").await;
    assert_eq!(usize::try_from(dead_letters), Ok(is("dead")), "one dead letter for each");
}

/// Everybody has their email. Those whose delivery was unknown may have it twice, and can see that it is the same.
async fn every_email_is_sent(world: &World, opinion: &SecondOpinion) {
    world.mailed().await;
    let (states, copies) = (email_states(world).await, copies(world));
    assert!(states.values().all(|state| state == "sent"), "{states:?}");
    assert_eq!(copies.len(), opinion.rewards_of(gets_emails));
    assert!(states.keys().all(|email_id| (1..=2).contains(&copies[email_id])), "{copies:?}");
}

async fn email_states(world: &World) -> HashMap<Uuid, String> {
    let rows = world.query("select email_id, state from email where state <> 'no_address'", &[]).await;
    rows.iter().map(|row: &Row| (row.get(0), row.get(1))).collect()
}

/// How often each email has arrived, by its Message-ID.
fn copies(world: &World) -> HashMap<Uuid, usize> {
    let mut copies = HashMap::new();
    for email in world.mailbox.emails() {
        let id = email.message_id.split('@').next().and_then(|id| id.parse().ok());
        *copies.entry(id.expect("the email's id")).or_default() += 1;
    }
    copies
}
