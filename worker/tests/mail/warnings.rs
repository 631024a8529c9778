//! Warnings of points that expire soon, from the maintenance to the mailbox.

use std::sync::Arc;
use std::time::Duration;

use loyalty_common::Partition;
use loyalty_ledger::{BatchRequest, Changes};
use loyalty_local::wait::eventually;
use loyalty_store::batch::Batch;
use loyalty_store::emails::EmailId;
use loyalty_worker::maintenance::Maintenance;
use loyalty_worker::metrics::PointsMoved;
use loyalty_worker::registered_programme::RegisteredProgramme;
use loyalty_worker::sweep::Sweep;
use loyalty_worker::warnings::Warnings;
use loyalty_worker::{Events, Programme};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{Post, World};

/// The last day of points that a member was given a year ago.
const DAY: &str = "(now() at time zone 'UTC')::date + 10";

impl World {
    /// A member with points that expire in ten days, and the id of the email that says so.
    async fn has_expiring_points(&self, member: &str) -> EmailId {
        self.lives_at(member, &format!("{member}@example.com")).await;
        let member_id = member.parse().expect("a member id");
        let partition = Partition::of(&member_id).number();
        self.execute(&format!(
            "insert into lot (partition, member_id, epoch, expires_on, expires_at, opened_at, remaining, expired)
             select {partition}, '{member}', 1, {DAY}, ({DAY} + 1)::timestamp at time zone 'UTC', now() - interval '1 year', 120, 0;
             update member set balance = 120, last_seq = 2, due_at = now() + interval '10 days'
             where member_id = '{member}'"
        ))
        .await;
        let client = self.pool.get().await.expect("a connection");
        let day = client.query_one(&format!("select {DAY}"), &[]).await.expect("a day").get(0);
        EmailId::of_warning(&member_id, 1, day)
    }

    /// The maintenance of a worker whose mailer is that.
    fn maintenance(&self, post: &Post, stop: &CancellationToken) -> JoinHandle<()> {
        let expiry = serde_json::json!({"after": "365d", "round_up": "none", "zone": "UTC", "warn_days": 30});
        let expiry = Some(serde_json::from_value(expiry).expect("an expiry"));
        let programme = Arc::new(RegisteredProgramme::new(Programme::default()));
        let (day, events) = (Duration::from_secs(24 * 60 * 60), Events::On);
        let maintenance = Maintenance {
            pool: self.pool.clone(),
            parked_keep: day,
            sends_emails: true,
            sweep: Sweep { programme, late: day, events, event_relay: Arc::default(), points: PointsMoved::default() },
            warnings: Warnings { expiry, events, email_relay: Arc::clone(&post.wake), event_relay: Arc::default() },
        };
        tokio::spawn(maintenance.run(Arc::new(Notify::new()), stop.clone()))
    }

    /// How many emails and events tell of points that expire.
    async fn told(&self) -> [i64; 2] {
        let emails = "select count(*) from email where kind = 'expiring'";
        [self.number(emails).await, self.number("select count(*) from event_outbox").await]
    }

    async fn warned(&self, told: [i64; 2]) {
        eventually("members are warned", async || (self.told().await == told).then_some(())).await;
    }
}

/// Two workers, and then a third: whoever was warned is not warned again.
#[tokio::test]
async fn a_member_whose_points_expire_soon_gets_one_email_and_listeners_one_event() {
    let world = World::start().await;
    let (post, stop) = (world.post(), CancellationToken::new());
    let email_id = world.has_expiring_points("ann").await;
    let workers = [world.maintenance(&post, &stop), world.maintenance(&post, &stop)];
    world.warned([1, 1]).await;
    assert_eq!(world.becomes(email_id, "sent").await.attempts, 1);
    let [email] = &world.mailbox.emails()[..] else { panic!("{:?}", world.mailbox.emails()) };
    assert_eq!(email.message_id, format!("{email_id}@shop.example"));
    assert_eq!(email.header("Subject").as_deref(), Some("120 of your points expire soon"));
    let day: String = {
        let client = world.pool.get().await.expect("a connection");
        client.query_one("select expires_on::text from email", &[]).await.expect("a day").get(0)
    };
    let text = email.text();
    assert!(text.contains(&format!("120 of your points can be spent until {day}.")), "{text}");

    // Her partition comes after ann's, so that the look is over there when she is warned.
    let later = world.has_expiring_points("eve").await;
    assert!(Partition::of(&"eve".parse().expect("an id")) > Partition::of(&"ann".parse().expect("an id")));
    let third = world.maintenance(&post, &stop);
    world.warned([2, 2]).await;
    world.becomes(later, "sent").await;
    assert_eq!((world.told().await, world.mailbox.emails().len()), ([2, 2], 2));
    stop.cancel();
    for worker in workers.into_iter().chain([third]) {
        worker.await.expect("no panic");
    }
    post.stop().await;
}

/// The guard: the mail server was away for longer than there was to tell.
#[tokio::test]
async fn a_warning_whose_day_is_over_when_its_turn_comes_is_not_sent() {
    let world = World::start().await;
    let (post, stop) = (world.relay(), CancellationToken::new());
    let email_id = world.has_expiring_points("ann").await;
    let worker = world.maintenance(&post, &stop);
    world.warned([1, 1]).await;
    stop.cancel();
    worker.await.expect("no panic");
    post.stop().await;
    // Ten days pass.
    world.execute("update lot set expires_at = now()").await;
    let post = world.post();
    post.wake.notify_one();
    let email = world.becomes(email_id, "outdated").await;
    assert_eq!((email.attempts, world.mailbox.emails().len()), (0, 0));
    post.stop().await;
}

#[tokio::test]
async fn a_membership_that_ends_before_its_warning_is_sent_gets_none() {
    let world = World::start().await;
    let (post, stop) = (world.relay(), CancellationToken::new());
    let email_id = world.has_expiring_points("ann").await;
    let worker = world.maintenance(&post, &stop);
    world.warned([1, 1]).await;
    assert_eq!(world.email(email_id).await.state, "queued");
    let (batch, _) = Batch::open(&world.pool, &BatchRequest::default()).await.expect("a batch");
    let ended = vec![("ann".parse().expect("a member id"), 1)];
    batch.commit(&Changes { ended, ..Changes::default() }, &[]).await.expect("a commit");
    assert_eq!(world.email(email_id).await.state, "no_address");
    stop.cancel();
    worker.await.expect("no panic");
    post.stop().await;
    // Her request is there all the same. Another email shows that it was looked at.
    let post = world.post();
    let reward = world.grant("bob", "bob@example.com").await;
    post.wake.notify_one();
    world.becomes(reward, "sent").await;
    post.stop().await;
    assert_eq!((world.mailbox.emails().len(), world.email(email_id).await.attempts), (1, 0));
}
