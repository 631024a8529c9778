//! The mailbox over a raw socket, command by command, as a mailer would meet it.

use std::time::Duration;

use loyalty_local::{Behaviour, Mailbox};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// Over loopback an answer takes microseconds; this is for a machine that does other things as well.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Long enough to tell silence from an answer that is on its way.
const SILENCE: Duration = Duration::from_millis(200);

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(mailbox: &Mailbox) -> Self {
        let mut client = Self(BufReader::new(TcpStream::connect(mailbox.addr()).await.unwrap()));
        assert_eq!(client.code().await, "220");
        client
    }

    /// The code of the next answer; empty if the server closed the connection.
    async fn code(&mut self) -> String {
        loop {
            let mut line = String::new();
            timeout(ANSWER_LIMIT, self.0.read_line(&mut line)).await.expect("an answer").unwrap_or(0);
            // A dash after the code announces another line.
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.chars().take(3).collect();
            }
        }
    }

    async fn send(&mut self, text: &str) -> String {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.code().await
    }

    /// The codes of the answers to a whole email, up to the first refusal.
    async fn mail(&mut self, recipient: &str, text: &str) -> Vec<String> {
        let mut codes = Vec::new();
        let rcpt = format!("RCPT TO:<{recipient}>\r\n");
        let data = format!("{text}\r\n.\r\n");
        for command in ["EHLO test\r\n", "MAIL FROM:<shop@example.com>\r\n", &rcpt, "DATA\r\n", &data] {
            codes.push(self.send(command).await);
            if !codes.last().unwrap().starts_with(['2', '3']) {
                break;
            }
        }
        codes
    }
}

const TEXT: &str = "Message-ID: <1@loyalty>\r\nSubject: Hello\r\n\r\nHello.";

#[tokio::test]
async fn a_mail_is_kept_as_it_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::start(Some(dir.path())).await.unwrap();
    let mut client = Client::connect(&mailbox).await;
    let text = "Message-ID: <1@loyalty>\r\n\r\n..one dot\r\n...\r\ntwo";
    assert_eq!(client.mail("ann@example.com", text).await, ["250", "250", "250", "354", "250"]);

    let emails = mailbox.wait_for(1).await;
    assert_eq!(emails.len(), 1);
    assert_eq!((emails[0].recipient.as_str(), emails[0].message_id.as_str()), ("ann@example.com", "1@loyalty"));
    assert_eq!(emails[0].text(), "Message-ID: <1@loyalty>\r\n\r\n.one dot\r\n..\r\ntwo\r\n");

    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].to_str().unwrap().ends_with("-1@loyalty.eml"), "{files:?}");
    assert_eq!(std::fs::read(&files[0]).unwrap(), emails[0].raw);
}

#[tokio::test]
async fn only_the_owner_reads_mails_whatever_the_umask_is() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let dir = tempfile::tempdir().unwrap();
    let emails = dir.path().join("mail");
    // As an earlier release left them.
    std::fs::create_dir(&emails).unwrap();
    std::fs::set_permissions(&emails, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::write(emails.join("before.eml"), "").unwrap();
    std::fs::set_permissions(emails.join("before.eml"), std::fs::Permissions::from_mode(0o644)).unwrap();

    rustix::process::umask(rustix::fs::Mode::empty());
    for dir in [emails.clone(), dir.path().join("fresh/mail")] {
        let mailbox = Mailbox::start(Some(&dir)).await.unwrap();
        let mut client = Client::connect(&mailbox).await;
        client.mail("ann@example.com", TEXT).await;
        mailbox.wait_for(1).await;
        assert_eq!(mode(&dir), 0o700);
        for entry in std::fs::read_dir(&dir).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }
    assert_eq!(std::fs::read_dir(&emails).unwrap().count(), 2);
}

#[tokio::test]
async fn one_connection_carries_many_emails() {
    let mailbox = Mailbox::start(None).await.unwrap();
    let mut client = Client::connect(&mailbox).await;
    client.mail("ann@example.com", TEXT).await;
    client.mail("ben@example.com", TEXT).await;
    let recipients: Vec<String> = mailbox.wait_for(2).await.into_iter().map(|email| email.recipient).collect();
    assert_eq!(recipients, ["ann@example.com", "ben@example.com"]);
    assert_eq!(client.send("QUIT\r\n").await, "221");
    assert_eq!(client.code().await, "");
}

#[tokio::test]
async fn each_refusal_comes_at_its_place() {
    let mailbox = Mailbox::start(None).await.unwrap();
    let mut client = Client::connect(&mailbox).await;
    let cases = [
        (Behaviour::TransientAtRcpt, "ann@example.com", "451", 3),
        (Behaviour::PermanentForDomain("bad.example".to_owned()), "ann@BAD.example", "550", 3),
        (Behaviour::PermanentForDomain("bad.example".to_owned()), "ann@example.com", "250", 5),
        (Behaviour::TransientAfterData, "ann@example.com", "451", 5),
        (Behaviour::Accept, "ann@example.com", "250", 5),
    ];
    for (behaviour, recipient, last, answers) in cases {
        mailbox.set(behaviour.clone()).await.unwrap();
        let codes = client.mail(recipient, TEXT).await;
        assert_eq!((codes.last().unwrap().as_str(), codes.len()), (last, answers), "{behaviour:?}: {codes:?}");
    }
    assert_eq!(mailbox.emails().len(), 2);
}

#[tokio::test]
async fn a_closed_mailbox_refuses_and_cuts_and_opens_again() {
    let mailbox = Mailbox::start(None).await.unwrap();
    let mut client = Client::connect(&mailbox).await;
    mailbox.set(Behaviour::RefuseConnection).await.unwrap();
    assert_eq!(client.code().await, "");
    assert!(TcpStream::connect(mailbox.addr()).await.is_err());
    mailbox.set(Behaviour::Accept).await.unwrap();
    Client::connect(&mailbox).await;
}

#[tokio::test]
async fn a_hanging_mailbox_takes_the_mail_and_says_nothing() {
    let mailbox = Mailbox::start(None).await.unwrap();
    mailbox.set(Behaviour::HangAfterData).await.unwrap();
    let mut client = Client::connect(&mailbox).await;
    timeout(SILENCE, client.mail("ann@example.com", TEXT)).await.expect_err("no answer");
    assert_eq!(mailbox.wait_for(1).await.len(), 1);
    mailbox.set(Behaviour::Accept).await.unwrap();
    assert_eq!(client.code().await, "", "the question stays open: the connection ends without an answer");
}

#[tokio::test]
async fn a_slow_mailbox_answers_late() {
    let mailbox = Mailbox::start(None).await.unwrap();
    mailbox.set(Behaviour::Slow(SILENCE)).await.unwrap();
    let started = std::time::Instant::now();
    let codes = Client::connect(&mailbox).await.mail("ann@example.com", TEXT).await;
    assert_eq!(codes.last().unwrap(), "250");
    assert!(started.elapsed() >= SILENCE);
}

#[tokio::test]
async fn nothing_without_bounds_is_read() {
    let mailbox = Mailbox::start(None).await.unwrap();
    let mut client = Client::connect(&mailbox).await;
    assert_eq!(client.send(&format!("NOOP {}\r\n", "x".repeat(9000))).await, "500");
    let mut client = Client::connect(&mailbox).await;
    let large = vec!["x".repeat(900); 1200].join("\r\n");
    assert_eq!(client.mail("ann@example.com", &large).await.last().unwrap(), "552");
    assert!(mailbox.emails().is_empty());
}

#[tokio::test]
async fn a_lone_line_feed_does_not_end_an_email() {
    let mailbox = Mailbox::start(None).await.unwrap();
    let mut client = Client::connect(&mailbox).await;
    let smuggled = "Message-ID: <1@x>\r\n\r\none\n.\r\nMAIL FROM:<evil@x>\r\n";
    assert_eq!(client.mail("ann@example.com", smuggled).await.last().unwrap(), "250");
    assert!(mailbox.wait_for(1).await[0].text().contains("evil"));
}

#[tokio::test]
async fn a_dropped_mailbox_is_gone() {
    let mailbox = Mailbox::start(None).await.unwrap();
    let address = mailbox.addr();
    let mut client = Client::connect(&mailbox).await;
    drop(mailbox);
    assert_eq!(client.code().await, "");
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(ANSWER_LIMIT, closed).await.expect("the port closes");
}
