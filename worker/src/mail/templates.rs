//! From what an email tells to the email: the shop's templates, filled, in the form that mail servers expect.
//!
//! The same email always has the same Message-ID, whoever sends it and however often. An unknown variable in a
//! template is an error at start, not an empty place in a member's email.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::civil::Date;
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart, SinglePart};
use loyalty_common::values::Invalid;
use loyalty_store::emails::{Attempt, ClaimToken, ClaimedEmail, EmailContent, EmailId, EmailKind, Recipient};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use uuid::Uuid;

use super::mailbox;
use super::sender::{self, SenderError};
use super::settings::{MailSettings, Template};

/// The templates of a shop, known to work.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
    from: Mailbox,
    of_kind: BTreeMap<EmailKind, Template>,
}

/// The kind of file decides what is escaped: nothing in text, everything that HTML gives a meaning in HTML.
const TXT: &str = "txt";
const HTML: &str = "html";

impl Templates {
    /// Reads the templates and fills each once, with and without a name.
    pub(crate) fn new(settings: &MailSettings) -> Result<Self, TemplatesError> {
        let from = sender::parse(&settings.from)?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let of_kind = EmailKind::ALL.iter().map(|kind| (*kind, settings.template(*kind).clone())).collect();
        let templates = Self { environment, from, of_kind };
        for kind in EmailKind::ALL {
            for name in [Some("Ann".to_owned()), None] {
                templates.fill_all(&sample(*kind, name)).map_err(TemplatesError::Template)?;
            }
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

    fn fill_all(&self, email: &ClaimedEmail) -> Result<(String, String, String), FillError> {
        let (kind, values) = (email.content.kind(), values(email));
        let Template { subject, text, html } = &self.of_kind[&kind];
        // Parsing a page of template takes microseconds, beside a mail server's milliseconds.
        let fill = |field: &str, form: &str, template: &str| {
            let setting = format!("mail.{kind}.{field}");
            let filled = self.environment.render_named_str(&format!("{setting}.{form}"), template, &values);
            filled.map_err(|source| FillError { setting, source })
        };
        let subject = fill("subject", TXT, subject)?;
        // A header is one line.
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok((subject, fill("text", TXT, text)?, fill("html", HTML, html)?))
    }
}

/// What the templates of a kind know.
fn values(email: &ClaimedEmail) -> Value {
    let ClaimedEmail { name, member_id, content, .. } = email;
    match content {
        EmailContent::Reward { number, title, points } => context! { name, member_id, number, title, points },
        EmailContent::Expiring { expires_on, points } => {
            context! { name, member_id, expires_on => expires_on.to_string(), points }
        }
    }
}

/// Why the settings make no emails.
#[derive(Debug, thiserror::Error)]
pub enum TemplatesError {
    /// The sender is not an email address.
    #[error(transparent)]
    From(#[from] SenderError),
    /// A template cannot be read, or asks for something that an email of its kind does not know.
    #[error(transparent)]
    Template(FillError),
}

/// A template could not be filled.
#[derive(Debug, thiserror::Error)]
#[error("the email template {setting} cannot be filled")]
pub struct FillError {
    /// Its key in `loyalty.toml`.
    setting: String,
    source: minijinja::Error,
}

/// Why one email could not be made. Holds no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComposeError {
    #[error("the member's address {0}")]
    Address(Invalid),
    #[error(transparent)]
    Template(FillError),
    #[error("could not format the email")]
    Form(#[source] lettre::error::Error),
}

fn sample(kind: EmailKind, name: Option<String>) -> ClaimedEmail {
    let content = match kind {
        EmailKind::Reward => EmailContent::Reward { number: 1, title: "free coffee".to_owned(), points: 1_000 },
        EmailKind::Expiring => EmailContent::Expiring { expires_on: Date::constant(2026, 12, 31), points: 120 },
    };
    ClaimedEmail {
        attempt: Attempt { email_id: EmailId::from(Uuid::nil()), number: 1, claim: ClaimToken::draw(), step: 1 },
        recipient: Recipient::new("ann@example.com"),
        name,
        member_id: "123".to_owned(),
        content,
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

    fn reward(name: Option<&str>) -> ClaimedEmail {
        sample(EmailKind::Reward, name.map(str::to_owned))
    }

    fn composed(email: &ClaimedEmail) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let message = templates(|_| ()).expect("the defaults work").compose(email, now).expect("an email");
        String::from_utf8(message.formatted()).expect("emails are ASCII").replace('\r', "")
    }

    #[test]
    fn an_email_is_text_and_html_with_a_lasting_id() {
        insta::assert_snapshot!(composed(&reward(Some("Ann"))), @r#"
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
    fn a_warning_says_how_many_points_expire_and_after_which_day() {
        let email = composed(&sample(EmailKind::Expiring, Some("Ann".to_owned())));
        let (_, told) = email.split_once("Subject: ").expect("a subject");
        insta::assert_snapshot!(told, @r#"
        120 of your points expire soon
        Auto-Submitted: auto-generated
        MIME-Version: 1.0
        Content-Type: multipart/alternative;
         boundary="00000000000000000000000000000000"

        --00000000000000000000000000000000
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        Hello Ann,

        120 of your points can be spent until 2026-12-31.
        After that day they expire.

        This is about your membership 123.
        We look forward to your next visit.
        --00000000000000000000000000000000
        Content-Type: text/html; charset=utf-8
        Content-Transfer-Encoding: 7bit

        <!doctype html>
        <html lang="en">
        <head><meta charset="utf-8"><title>120 points expire soon</title></head>
        <body>
        <p>Hello Ann,</p>
        <p><strong>120</strong> of your points can be spent until
        <strong>2026-12-31</strong>. After that day they expire.</p>
        <p>This is about your membership 123.
        We look forward to your next visit.</p>
        </body>
        </html>
        --00000000000000000000000000000000--
        "#);
    }

    #[test]
    fn values_are_escaped_in_html_only() {
        let email = composed(&reward(Some("<b>Ann & Bob</b>")));
        assert!(email.contains("Hello <b>Ann & Bob</b>,"), "{email}");
        assert!(email.contains("Hello &lt;b&gt;Ann &amp; Bob&lt;&#x2f;b&gt;,"), "{email}");
    }

    #[test]
    fn a_member_without_a_name_is_greeted_all_the_same() {
        assert!(composed(&reward(None)).contains("Hello,"));
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
            let mut email = reward(Some(name));
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
        assert!(composed(&reward(Some("  "))).contains("To: ann@example.com\n"));
    }

    #[test]
    fn what_would_fail_later_fails_at_start() {
        let check = |change: fn(&mut MailSettings), named: &str| {
            let error = templates(change).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        };
        check(|settings| settings.from = "nobody".to_owned(), "mail.from");
        check(|settings| settings.from = "Shop <rewärds@example.com>".to_owned(), "mail.from");
        check(|settings| settings.reward.subject = "{{ tilte }}".to_owned(), "mail.reward.subject");
        check(|settings| settings.reward.text = "{% if name %}".to_owned(), "mail.reward.text");
        check(|settings| settings.reward.html = "{{ expires_on }}".to_owned(), "mail.reward.html");
        check(|settings| settings.expiring.subject = "{{ title }}".to_owned(), "mail.expiring.subject");
        check(|settings| settings.expiring.text = "{{ number }}".to_owned(), "mail.expiring.text");
        check(|settings| settings.expiring.html = "{% if name %}".to_owned(), "mail.expiring.html");
    }

    #[test]
    fn a_subject_is_one_line() {
        let templates = templates(|settings| settings.reward.subject = "One\r\nBcc: all@example.com".to_owned());
        let message = templates.expect("works").compose(&reward(None), SystemTime::UNIX_EPOCH).expect("an email");
        let text = String::from_utf8(message.formatted()).expect("ASCII");
        assert!(text.contains("Subject: One Bcc: all@example.com\r\n"), "{text}");
    }

    #[test]
    fn an_address_that_is_none_makes_no_email_and_is_not_quoted() {
        let mut email = reward(None);
        email.recipient = Recipient::new("ann smith");
        let error = templates(|_| ()).expect("works").compose(&email, SystemTime::UNIX_EPOCH).expect_err("no address");
        assert!(matches!(error, ComposeError::Address(_)));
        assert!(!format!("{error:?} {error}").contains("smith"));
    }
}
