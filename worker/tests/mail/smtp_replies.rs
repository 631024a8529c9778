//! Mail servers that answer as the standard does not foresee, or as few do.

use loyalty_worker::mail::SmtpUrl;

use crate::scripted_server::{Script, Scripted};
use crate::world::{EmailRow, World};

/// What becomes of an email to a server of this script: the state, and what is said of it.
async fn outcome(script: Script, state: &str) -> String {
    let mut world = World::start().await;
    let server = Scripted::start(script).await;
    world.settings.smtp = Some(server.url());
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    let EmailRow { reply, attempts, .. } = world.becomes(email_id, state).await;
    assert_eq!(attempts, 1, "{reply:?}");
    post.stop().await;
    reply.expect("what was said")
}

#[tokio::test]
async fn a_server_that_answers_in_latin_1_is_understood_by_its_codes() {
    let polite = Script {
        greeting: b"220 mx gr\xfc\xdft\r\n",
        ehlo: b"250-gr\xfc\xdft\r\n250-SIZE\xa0\r\n250 8BITMIME\r\n",
        mail: b"250 Absender g\xfcltig\r\n",
        rcpt: b"250 Empf\xe4nger g\xfcltig\r\n",
        data: b"354 weiter, Ende mit \xab.\xbb\r\n",
        text: b"250 \xfcbernommen\r\n",
        ..Script::default()
    };
    assert_eq!(outcome(polite, "sent").await, "250 \u{fffd}bernommen");
}

#[tokio::test]
async fn a_refusal_in_latin_1_counts_by_its_code_in_every_phase() {
    let no = b"550-nicht\r\n550 zul\xe4ssig\r\n";
    let later = b"451 sp\xe4ter\r\n";
    let usual = Script::default;
    let shown = "550 nicht zul\u{fffd}ssig";
    for (script, state, said) in [
        (Script { greeting: b"554 verg\xebben\r\n", ..usual() }, "retrying", "554 verg\u{fffd}ben"),
        (Script { ehlo: no, helo: no, ..usual() }, "retrying", shown),
        (Script { mail: no, ..usual() }, "retrying", shown),
        (Script { rcpt: no, ..usual() }, "dead", shown),
        (Script { data: no, ..usual() }, "dead", shown),
        (Script { text: no, ..usual() }, "dead", shown),
        (Script { text: later, ..usual() }, "retrying", "451 sp\u{fffd}ter"),
    ] {
        assert_eq!(outcome(script, state).await, said);
    }
}

#[tokio::test]
async fn a_server_that_knows_no_ehlo_is_greeted_by_helo() {
    for ehlo in [&b"502 what?\r\n"[..], b"500 what?\r\n", b"501 what?\r\n", b"504 no\r\n", b"550 no\r\n"] {
        assert_eq!(outcome(Script { ehlo, ..Script::default() }, "sent").await, "250 taken");
    }
}

#[tokio::test]
async fn an_answer_of_a_bare_code_or_a_long_line_is_an_answer() {
    const LONG: [u8; 3_006] = {
        let mut line = [b'x'; 3_006];
        [line[0], line[1], line[2], line[3], line[3_004], line[3_005]] = *b"550 \r\n";
        line
    };
    assert_eq!(outcome(Script { text: b"250\r\n", ..Script::default() }, "sent").await, "250");
    assert_eq!(outcome(Script { text: b"250 taken\n", ..Script::default() }, "sent").await, "250 taken");
    assert!(outcome(Script { text: &LONG, ..Script::default() }, "dead").await.starts_with("550 xxx"));
}

#[tokio::test]
async fn a_password_is_not_sent_to_a_server_that_offers_no_encryption() {
    let mut world = World::start().await;
    let server =
        Scripted::start(Script { ehlo: b"250-mx.example\r\n250 AUTH PLAIN LOGIN\r\n", ..Script::default() }).await;
    let url = server.url().expose().replace("smtp://", "smtp://ann:s3cret@");
    world.settings.smtp = Some(SmtpUrl::known(format!("{url}?tls=opportunistic")));
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    let reply = world.becomes(email_id, "retrying").await.reply.expect("why");
    assert!(reply.contains("STARTTLS"), "{reply}");
    assert_eq!(server.heard("AUTH"), Vec::<String>::new());
    post.stop().await;
}
