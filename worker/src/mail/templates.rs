//! From a reward to the email about it: the shop's templates, filled, in the form that mail servers expect.
//!
//! The same email always has the same Message-ID, whoever sends it and however often. An unknown variable in a
//! template is an error at start, not an empty place in a member's email.

use std::time::SystemTime;

use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart, SinglePart};
use loyalty_common::text::Invalid;
use loyalty_store::emails::{Attempt, ClaimToken, ClaimedEmail, EmailId, Recipient};
use minijinja::{Environment, UndefinedBehavior, context};
use uuid::Uuid;

use super::mailbox;
use super::sender::{self, SenderError};
use super::settings::MailSettings;

/// The templates of a shop, known to work.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
    from: Mailbox,
    subject: String,
    text: String,
    html: String,
}

/// The name decides what is escaped: nothing in text, everything that HTML gives a meaning in HTML.
const SUBJECT: &str = "mail.subject.txt";
const TEXT: &str = "mail.text.txt";
const HTML: &str = "mail.html.html";

impl Templates {
    /// Reads the templates and fills each once, with and without a name.
    pub(crate) fn new(settings: &MailSettings) -> Result<Self, TemplatesError> {
        let from = sender::parse(&settings.from)?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let (subject, text, html) = (settings.subject.clone(), settings.text.clone(), settings.html.clone());
        let templates = Self { environment, from, subject, text, html };
        for name in [Some("Ann".to_owned()), None] {
            templates.fill_all(&sample(name)).map_err(TemplatesError::Template)?;
        }
        Ok(templates)
    }

    /// The email, dated.
    pub(crate) fn compose(&self, email: &ClaimedEmail, now: SystemTime) -> Result<Message, ComposeError> {
        let to = mailbox::of_member(email.name.as_deref(), email.recipient.expose()).map_err(ComposeError::Address)?;
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()]);
        let (subject, text, html) = self.fill_all(email).map_err(ComposeError::Template)?;
        let email_id = email.attempt.email_id;
        // Derived, so that an email sent twice is the same to the byte but for its date.
        let boundary = email_id.uuid().simple().to_string();
        let parts = MultiPart::alternative()
            .boundary(boundary)
            .singlepart(SinglePart::plain(text))
            .singlepart(SinglePart::html(html));
        let builder = Message::builder()
            .message_id(Some(format!("<{email_id}@{}>", self.from.email.domain())))
            .date(now)
            .from(self.from.clone())
            .to(to.clone())
            .envelope(envelope.map_err(ComposeError::Form)?)
            .subject(subject)
            // RFC 3834: nobody's holiday notice need answer this.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        let quoted = [mailbox::quoted("From", &self.from), mailbox::quoted("To", &to)].into_iter().flatten();
        quoted.fold(builder, MessageBuilder::raw_header).multipart(parts).map_err(ComposeError::Form)
    }

    fn fill_all(&self, email: &ClaimedEmail) -> Result<(String, String, String), minijinja::Error> {
        let subject = self.fill(SUBJECT, &self.subject, email)?;
        // A header is one line.
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok((subject, self.fill(TEXT, &self.text, email)?, self.fill(HTML, &self.html, email)?))
    }

    /// Parsing a page of template takes microseconds, beside a mail server's milliseconds.
    fn fill(&self, name: &str, template: &str, email: &ClaimedEmail) -> Result<String, minijinja::Error> {
        let ClaimedEmail { name: member_name, title, points, number, member_id, .. } = email;
        let values = context! { name => member_name, title, points, number, member_id };
        self.environment.render_named_str(name, template, values)
    }
}

/// Why the settings make no emails.
#[derive(Debug, thiserror::Error)]
pub enum TemplatesError {
    /// The sender is not an email address.
    #[error(transparent)]
    From(#[from] SenderError),
    /// A template cannot be read, or asks for something that an email does not know.
    #[error("an email template (mail.subject, mail.text or mail.html) cannot be filled")]
    Template(#[source] minijinja::Error),
}

/// Why one email could not be made. Holds no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComposeError {
    #[error("the member's address {0}")]
    Address(Invalid),
    #[error("an email template cannot be filled")]
    Template(#[source] minijinja::Error),
    #[error("the email could not be put into form")]
    Form(#[source] lettre::error::Error),
}

fn sample(name: Option<String>) -> ClaimedEmail {
    ClaimedEmail {
        attempt: Attempt { email_id: EmailId::from(Uuid::nil()), number: 1, claim: ClaimToken::draw(), step: 1 },
        recipient: Recipient::new("ann@example.com"),
        name,
        member_id: "123".to_owned(),
        title: "free coffee".to_owned(),
        number: 1,
        points: 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn templates(change: impl FnOnce(&mut MailSettings)) -> Result<Templates, TemplatesError> {
        let mut settings =
            MailSettings { from: "Corner Café <rewards@cafe.example>".to_owned(), ..Default::default() };
        change(&mut settings);
        Templates::new(&settings)
    }

    fn composed(email: &ClaimedEmail) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let message = templates(|_| ()).expect("the defaults work").compose(email, now).expect("an email");
        String::from_utf8(message.formatted()).expect("emails are ASCII").replace('\r', "")
    }

    #[test]
    fn an_email_is_text_and_html_with_a_lasting_id() {
        insta::assert_snapshot!(composed(&sample(Some("Ann".to_owned()))), @r#"
        Message-ID: <00000000-0000-0000-0000-000000000000@cafe.example>
        Date: Fri, 15 Jan 2027 08:00:00 +0000
        From: =?utf-8?b?Q29ybmVyIENhZsOp?= <rewards@cafe.example>
        To: Ann <ann@example.com>
        Subject: Your reward: free coffee
        Auto-Submitted: auto-generated
        MIME-Version: 1.0
        Content-Type: multipart/alternative;
         boundary="00000000000000000000000000000000"

        --00000000000000000000000000000000
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        Hello Ann,

        you have collected 1000 points with us. Thank you! That earns you:

            free coffee

        This is reward number 1 of your membership 123.
        Show this email on your next visit.
        --00000000000000000000000000000000
        Content-Type: text/html; charset=utf-8
        Content-Transfer-Encoding: 7bit

        <!doctype html>
        <html lang="en">
        <head><meta charset="utf-8"><title>free coffee</title></head>
        <body>
        <p>Hello Ann,</p>
        <p>you have collected 1000 points with us. Thank you! That earns you:</p>
        <p><strong>free coffee</strong></p>
        <p>This is reward number 1 of your membership 123.
        Show this email on your next visit.</p>
        </body>
        </html>
        --00000000000000000000000000000000--
        "#);
    }

    #[test]
    fn values_are_escaped_in_html_only() {
        let email = composed(&sample(Some("<b>Ann & Bob</b>".to_owned())));
        assert!(email.contains("Hello <b>Ann & Bob</b>,"), "{email}");
        assert!(email.contains("Hello &lt;b&gt;Ann &amp; Bob&lt;&#x2f;b&gt;,"), "{email}");
    }

    #[test]
    fn a_member_without_a_name_is_greeted_all_the_same() {
        assert!(composed(&sample(None)).contains("Hello,"));
    }

    /// Python's parser of emails reads each of them, and finds the name and the address that were meant.
    #[test]
    fn a_member_of_any_name_is_named_in_a_valid_header() {
        const READ: &str = "import sys, email, email.policy, email.utils, email.header
message = open(sys.argv[1], 'rb').read()
for header in ('From', 'To'):
    strict = email.message_from_bytes(message, policy=email.policy.SMTP)[header]
    assert not strict.defects and len(strict.addresses) == 1, strict.defects
    name, address = email.utils.parseaddr(email.message_from_bytes(message)[header])
    print(email.header.make_header(email.header.decode_header(name)), '|', address)";
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("mail");
        let (bytes, dots) = ("é".repeat(100), ".".repeat(200));
        let names = [
            ".",
            "..",
            "J.R",
            "Dr. Who",
            "\"",
            "a\\b",
            "Smith, Ann",
            "Ann (home)",
            "<ann@b.de>",
            "@",
            ";:",
            "'",
            "=?utf-8?q?x?=",
            "Zoë",
            "山田 太郎",
            "  Ann  Lee ",
            "🦀",
            &bytes,
            &dots,
            "a.b-c_d",
            "-",
            "\u{200b}",
            "Ann\u{3000}Lee",
        ];
        for name in names {
            let mut email = sample(Some(name.to_owned()));
            email.recipient = Recipient::new("ann@bücher.example");
            let templates =
                templates(|settings| settings.from = "J.R <rewards@bücher.example>".to_owned()).expect("works");
            let message = templates.compose(&email, SystemTime::UNIX_EPOCH).expect("an email");
            assert!(message.formatted().is_ascii(), "{name}");
            std::fs::write(&file, message.formatted()).expect("a file");
            let Ok(read) = std::process::Command::new("python3").args(["-c", READ]).arg(&file).output() else {
                eprintln!("NOT CHECKED: no python3 reads the headers");
                return;
            };
            let said = format!("{}{}", String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
            let shown = name.split_whitespace().collect::<Vec<_>>().join(" ");
            let host = "xn--bcher-kva.example";
            assert_eq!(said, format!("J.R | rewards@{host}\n{shown} | ann@{host}\n"), "{name:?}");
        }
    }

    #[test]
    fn a_name_of_nothing_that_is_seen_is_left_out() {
        assert!(composed(&sample(Some("  ".to_owned()))).contains("To: ann@example.com\n"));
    }

    #[test]
    fn what_would_fail_later_fails_at_start() {
        let check = |change: fn(&mut MailSettings)| assert!(templates(change).is_err());
        check(|settings| settings.from = "nobody".to_owned());
        check(|settings| settings.from = "Shop <rewärds@example.com>".to_owned());
        check(|settings| settings.subject = "{{ tilte }}".to_owned());
        check(|settings| settings.text = "{% if name %}".to_owned());
        check(|settings| settings.html = "{{ balance }}".to_owned());
    }

    #[test]
    fn a_subject_is_one_line() {
        let templates = templates(|settings| settings.subject = "One\r\nBcc: all@example.com".to_owned());
        let message = templates.expect("works").compose(&sample(None), SystemTime::UNIX_EPOCH).expect("an email");
        let text = String::from_utf8(message.formatted()).expect("ASCII");
        assert!(text.contains("Subject: One Bcc: all@example.com\r\n"), "{text}");
    }

    #[test]
    fn an_address_that_is_none_makes_no_email_and_is_not_quoted() {
        let mut email = sample(None);
        email.recipient = Recipient::new("ann smith");
        let error = templates(|_| ()).expect("works").compose(&email, SystemTime::UNIX_EPOCH).expect_err("no address");
        assert!(matches!(error, ComposeError::Address(_)));
        assert!(!format!("{error:?} {error}").contains("smith"));
    }
}
