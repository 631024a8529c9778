//! Addresses and names: where emails go when their turn comes.

use std::time::Duration;

use loyalty_ledger::{Changes, Grant};
use loyalty_store::emails::{self, Claim, EmailId, EmailState, Requeue};

use crate::world::{World, operator};

impl World {
    /// An email of the first membership of `ann`, in this state.
    async fn email(&self, number: i64, state: EmailState) -> EmailId {
        let reward = Grant {
            trace: None,
            member_id: "ann".parse().expect("a member id"),
            epoch: 1,
            number,
            seq: number,
            points: number * 1_000,
            title: "free coffee".to_owned(),
            has_address: true,
        };
        let id = EmailId::of_reward(&reward.member_id, reward.epoch, reward.number);
        self.commit(&Changes { grants: vec![reward], ..Changes::default() }).await;
        let due = if state == EmailState::Queued { "null" } else { "now()" };
        self.execute(&format!("update email set state = '{state}', due_at = {due} where email_id = '{id}'")).await;
        id
    }

    async fn claims(&self, id: EmailId) -> Claim {
        emails::claim(&self.pool, id, Duration::from_secs(60), true).await.expect("a claim")
    }
}

const ANN: &str = "
    insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, email, name, updated_at)
    values (3, 'ann', 'active', 1, 0, 0, 0, 'ann@example.com', 'Ann', now())";

#[tokio::test]
async fn an_email_goes_to_the_address_of_the_moment_in_which_its_turn_comes() {
    let world = World::start().await;
    world.execute(ANN).await;
    for (number, state) in [(1, EmailState::Queued), (2, EmailState::Retrying), (3, EmailState::Sending)] {
        let id = world.email(number, state).await;
        world.execute(&format!("update member set email = 'ann{number}@example.com', name = null")).await;
        let Claim::Ours(email) = world.claims(id).await else { panic!("{state} and free") };
        assert_eq!((email.recipient.expose(), email.name), (&*format!("ann{number}@example.com"), None));
    }
}

/// Nobody's, or the next membership's: perhaps another person's.
#[tokio::test]
async fn an_email_whose_membership_has_no_address_any_more_goes_to_nobody() {
    use EmailState::{Dead, NoAddress, Queued, Retrying, Unknown};
    let world = World::start().await;
    world.execute(ANN).await;
    let (queued, retrying) = (world.email(1, Queued).await, world.email(2, Retrying).await);
    let (dead, unknown) = (world.email(3, Dead).await, world.email(4, Unknown).await);
    world.execute("update member set epoch = 2").await;
    for id in [queued, retrying] {
        assert!(matches!(world.claims(id).await, Claim::Settled(NoAddress)));
    }
    // What was given up stays, and is not queued again.
    assert!(matches!(world.claims(dead).await, Claim::Settled(Dead)));
    for (id, what) in [(dead, Requeue::Retry), (unknown, Requeue::ResendUnknown)] {
        let seen = emails::states(&world.pool, &[id]).await.expect("states");
        assert_eq!(seen[&id], NoAddress);
        let requeued = emails::requeue(&world.pool, &[id], &seen, what, &operator("eve")).await.expect("a look");
        assert_eq!((requeued.queued, requeued.left), (vec![], vec![(id, NoAddress)]));
    }
    assert_eq!(world.number("select count(*) from email where state = 'no_address'").await, 4);
}
