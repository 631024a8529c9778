//! Addresses and names: where mails go when their turn comes, and what the migration takes from older tables.

use std::time::Duration;

use loyalty_store::batch::Changes;
use loyalty_store::email::{self, Claim, EmailId, EmailState};
use loyalty_store::mails::{self, Requeue};
use loyalty_store::rows::RewardRow;

use crate::world::{World, operator};

impl World {
    /// A mail of the first membership of `ann`, in this state.
    async fn mail(&self, number: i64, state: EmailState) -> EmailId {
        let reward = RewardRow {
            trace: None,
            member_id: "ann".parse().expect("a member id"),
            epoch: 1,
            number,
            seq: number,
            points: number * 1_000,
            title: "free coffee".to_owned(),
            has_address: true,
        };
        let id = EmailId::from(reward.email_id());
        self.commit(&Changes { rewards: vec![reward], ..Changes::default() }).await;
        let due = if state == EmailState::Queued { "null" } else { "now()" };
        self.execute(&format!("update email set state = '{state}', due_at = {due} where email_id = '{id}'")).await;
        id
    }

    async fn claims(&self, id: EmailId) -> Claim {
        email::claim(&self.pool, id, Duration::from_secs(60), true).await.expect("a claim")
    }
}

const ANN: &str = "
    insert into member (member_id, status, epoch, balance, lifetime, last_seq, email, name, updated_at)
    values ('ann', 'active', 1, 0, 0, 0, 'ann@example.com', 'Ann', now())";

#[tokio::test]
async fn a_mail_goes_to_the_address_of_the_moment_in_which_its_turn_comes() {
    let world = World::start().await;
    world.execute(ANN).await;
    for (number, state) in [(1, EmailState::Queued), (2, EmailState::Retrying), (3, EmailState::Sending)] {
        let id = world.mail(number, state).await;
        world.execute(&format!("update member set email = 'ann{number}@example.com', name = null")).await;
        let Claim::Ours(mail) = world.claims(id).await else { panic!("{state} and free") };
        assert_eq!((mail.recipient.expose(), mail.name), (&*format!("ann{number}@example.com"), None));
    }
}

/// Nobody's, or the next membership's: perhaps another person's.
#[tokio::test]
async fn a_mail_whose_membership_has_no_address_any_more_goes_to_nobody() {
    use EmailState::{Dead, NoAddress, Queued, Retrying, Unknown};
    let world = World::start().await;
    world.execute(ANN).await;
    let (queued, retrying) = (world.mail(1, Queued).await, world.mail(2, Retrying).await);
    let (dead, unknown) = (world.mail(3, Dead).await, world.mail(4, Unknown).await);
    world.execute("update member set epoch = 2").await;
    for id in [queued, retrying] {
        assert!(matches!(world.claims(id).await, Claim::Settled(NoAddress)));
    }
    // What was given up stays, and is not queued anew.
    assert!(matches!(world.claims(dead).await, Claim::Settled(Dead)));
    for (id, what) in [(dead, Requeue::Retry), (unknown, Requeue::ResendUnknown)] {
        let seen = mails::states(&world.pool, &[id]).await.expect("states");
        assert_eq!(seen[&id], NoAddress);
        let requeued = mails::requeue(&world.pool, &[id], &seen, what, &operator("eve")).await.expect("a look");
        assert_eq!((requeued.queued, requeued.left), (vec![], vec![(id, NoAddress)]));
    }
    assert_eq!(world.number("select count(*) from email where state = 'no_address'").await, 4);
}

/// Everything before 0012, in order.
const OLDER: [&str; 11] = [
    include_str!("../../migrations/0001_ledger.sql"),
    include_str!("../../migrations/0002_operator.sql"),
    include_str!("../../migrations/0003_terminate.sql"),
    include_str!("../../migrations/0004_suspect.sql"),
    include_str!("../../migrations/0005_rebuild.sql"),
    include_str!("../../migrations/0006_token.sql"),
    include_str!("../../migrations/0007_events.sql"),
    include_str!("../../migrations/0008_suspect_tried.sql"),
    include_str!("../../migrations/0009_trace.sql"),
    include_str!("../../migrations/0010_ledger_order.sql"),
    include_str!("../../migrations/0011_claim_token.sql"),
];

/// A member, one who has left, and one who left and came back; each with an enrolment and mails that name an address.
const AS_IT_WAS: &str = "
    insert into member (member_id, status, epoch, balance, lifetime, last_seq, email, name, updated_at) values
        ('ann', 'active', 1, 0, 0, 1, 'ann@example.com', 'Ann', now()),
        ('bob', 'exited', 1, 0, 0, 1, 'bob@example.com', null, now()),
        ('cid', 'active', 2, 0, 0, 1, 'cid@example.com', null, now());
    insert into ledger (member_id, seq, command_id, epoch, type, outcome, delta, balance_after, occurred_at,
                        recorded_at, email_sha256, name_sha256)
        select member_id, 1, gen_random_uuid(), 1, 'enroll', 'applied', 0, 0, now(), now(),
               sha256(convert_to(member_id || '@example.com', 'UTF8')), sha256('Ann')
        from member;
    insert into email (email_id, member_id, epoch, number, recipient, name, state, attempts, due_at, created_at, updated_at)
        select gen_random_uuid(), member_id, 1, row_number() over (partition by member_id), member_id || '@example.com', 'Ann',
               state, 1, case state when 'retrying' then now() end, now(), now()
        from member cross join unnest(array['queued', 'retrying', 'sent', 'dead']) as s (state)";

#[tokio::test]
async fn the_migration_leaves_addresses_and_names_of_members_in_their_rows_alone() {
    let world = World::empty().await;
    for migration in OLDER {
        world.execute(migration).await;
    }
    world.execute(AS_IT_WAS).await;
    world.execute(include_str!("../../migrations/0012_contact.sql")).await;

    let standing = async |state: &str, member: &str| {
        world.number(&format!("select count(*) from email where state = '{state}' and member_id = '{member}'")).await
    };
    assert_eq!((standing("queued", "ann").await, standing("retrying", "ann").await), (1, 1));
    for gone in ["bob", "cid"] {
        assert_eq!((standing("no_address", gone).await, standing("sent", gone).await), (2, 1), "{gone}");
        assert_eq!(standing("dead", gone).await, 1, "{gone}");
    }
    assert_eq!(world.number("select count(*) from member where email is not null").await, 2);
    for table in ["ledger", "email"] {
        for text in ["ann@example.com", "Ann"] {
            let hash = format!("encode(sha256('{text}'), 'hex')");
            let found = format!("position('{text}' in t::text) + position({hash} in t::text) > 0");
            let rows = format!("select count(*) from {table} as t where {found}");
            assert_eq!(world.number(&rows).await, 0, "{text} in {table}");
        }
    }
}
