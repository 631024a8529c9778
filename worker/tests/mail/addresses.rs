//! Addresses beyond ASCII, addresses that are none, and a sender that the server refuses.

use loyalty_local::wait::eventually;

use crate::scripted_server::{Script, Scripted};
use crate::world::World;

#[tokio::test]
async fn an_internationalised_domain_goes_as_every_server_knows_it() {
    let mut world = World::start().await;
    let server = Scripted::start(Script::default()).await;
    world.settings.smtp = Some(server.url());
    world.settings.from = "Shop <rewards@bücher.example.com>".to_owned();
    let post = world.post();
    let email_id = world.grant("ann", "ann@bücher.example").await;
    post.wake.notify_one();
    world.becomes(email_id, "sent").await;
    assert_eq!(server.heard("MAIL"), ["MAIL FROM:<rewards@xn--bcher-kva.example.com>"]);
    assert_eq!(server.heard("RCPT"), ["RCPT TO:<ann@xn--bcher-kva.example>"]);
    post.stop().await;
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_knows_such() {
    let mut world = World::start().await;
    let server = Scripted::start(Script::default()).await;
    world.settings.smtp = Some(server.url());
    let post = world.post();
    let email_id = world.grant("ann", "änn@bücher.example").await;
    post.wake.notify_one();
    let reply = world.becomes(email_id, "dead").await.reply.expect("why");
    assert!(reply.starts_with("the mail server does not offer SMTPUTF8"), "{reply}");
    assert_eq!(server.heard("MAIL"), [""; 0]);
    server.follow(Script { ehlo: b"250-mx\r\n250 SMTPUTF8\r\n", ..Script::default() });
    // Parked connections know nothing of it.
    post.stop().await;
    let post = world.post();
    let email_id = world.grant("zoe", "zoë@bücher.example").await;
    post.wake.notify_one();
    world.becomes(email_id, "sent").await;
    assert_eq!(server.heard("RCPT"), ["RCPT TO:<zoë@xn--bcher-kva.example>"]);
    post.stop().await;
}

/// Such were enrolled before they were refused.
#[tokio::test]
async fn an_address_that_no_server_could_take_is_set_aside_with_the_reason() {
    let world = World::start().await;
    let post = world.post();
    for (member, address, reason) in [
        ("ann", "ann..lee@example.com", "a dot must stand between two other characters"),
        ("bob", "bob@example..com", "a dot must stand between two other characters"),
        ("cleo", "@", "it has no `@`"),
        ("dan", "dan@-b.com", "a hyphen must stand"),
        ("eve", "eve\r\nDATA@example.com", "a character before the `@`"),
    ] {
        let email_id = world.grant(member, address).await;
        post.wake.notify_one();
        let reply = world.becomes(email_id, "dead").await.reply.expect("why");
        assert!(
            reply.starts_with("the member's address must be an email address") && reply.contains(reason),
            "{reply}"
        );
        assert!(!reply.contains(member), "{reply}");
    }
    assert!(world.mailbox.emails().is_empty());
    post.stop().await;
}

/// Three retry delays, and more attempts than they are: whoever gave up after the last would have lost the email.
#[tokio::test]
async fn emails_wait_for_as_long_as_the_server_refuses_the_sender() {
    let mut world = World::start().await;
    world.settings.retry_delays = serde_json::from_value(serde_json::json!(["1s"])).expect("retry delays");
    let server = Scripted::start(Script { mail: b"553 5.7.1 not your address\r\n", ..Script::default() }).await;
    world.settings.smtp = Some(server.url());
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    eventually("three attempts", async || (world.email(email_id).await.attempts >= 3).then_some(())).await;
    assert_eq!(world.email(email_id).await.reply.as_deref(), Some("553 5.7.1 not your address"));
    assert_eq!(server.heard("RCPT"), [""; 0]);
    server.follow(Script::default());
    world.becomes(email_id, "sent").await;
    assert_eq!(world.dead_letters().await, []);
    post.stop().await;
}
