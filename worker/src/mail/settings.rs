//! The mailer's settings: the table `[mail]` of `loyalty.toml`.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use loyalty_common::string_enum;
use loyalty_store::emails::EmailKind;
use serde::{Deserialize, Deserializer};

use super::retry_schedule::RetrySchedule;
use super::server::SmtpUrl;

/// How emails are sent, and what they say.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailSettings {
    /// The mail server: `smtps://user:password@host` or `smtp://host:25`. Without one, emails wait in their queue.
    #[serde(deserialize_with = "url")]
    pub smtp: Option<SmtpUrl>,
    /// Who the emails are from: `Corner Café <rewards@cafe.example>`. Its domain is also that of the Message-IDs.
    pub from: String,
    /// How long an email waits after each failed attempt: `["10s", "1m"]`. After the last it is a dead letter. Its
    /// queues must stand on the broker, so declare the topology again after a change.
    pub retry_delays: RetrySchedule,
    /// Connections to the mail server at the same time. Most servers grant one client ten or twenty.
    pub connections: NonZeroU8,
    /// Emails per second at most; unset, as fast as the server takes them.
    pub per_second: Option<NonZeroU32>,
    /// What becomes of an email whose answer was lost.
    pub on_unknown: OnUnknown,
    /// How long the server may take to answer after it got an email's text, in seconds. Who gives up early has an email
    /// whose delivery is unknown. RFC 5321 advises ten minutes between strangers; a shop's own server answers within
    /// seconds.
    #[serde(rename = "answer_seconds", deserialize_with = "seconds")]
    pub answer: Duration,
    /// Of a reward. Knows `name` (may be none), `member_id`, `title`, `points` and `number`.
    #[serde(deserialize_with = "reward")]
    pub reward: Template,
    /// Of points that expire soon. Knows `name` (may be none), `member_id`, `points` and `expires_on`.
    #[serde(deserialize_with = "expiring")]
    pub expiring: Template,
}

/// What emails of one kind say: minijinja templates.
#[derive(Clone, Debug)]
pub struct Template {
    pub subject: String,
    /// The text for programs that show no HTML.
    pub text: String,
    /// The HTML; values are escaped.
    pub html: String,
}

string_enum! {
    /// What becomes of an email of which nobody knows whether the server has it.
    pub enum OnUnknown {
        /// It stays as `unknown` until an operator decides: a member may miss an email, and none gets two.
        Hold = "hold",
        /// It is sent again under the same Message-ID: a member may get two, and none misses one.
        Resend = "resend",
    }
}

impl Default for MailSettings {
    fn default() -> Self {
        const CONNECTIONS: NonZeroU8 = NonZeroU8::new(4).expect("4 is not 0");
        Self {
            smtp: None,
            from: "Loyalty <loyalty@localhost>".to_owned(),
            retry_delays: RetrySchedule::default(),
            connections: CONNECTIONS,
            per_second: None,
            on_unknown: OnUnknown::Hold,
            answer: Duration::from_secs(120),
            reward: Template::usual(EmailKind::Reward),
            expiring: Template::usual(EmailKind::Expiring),
        }
    }
}

impl MailSettings {
    pub(super) const fn template(&self, kind: EmailKind) -> &Template {
        match kind {
            EmailKind::Reward => &self.reward,
            EmailKind::Expiring => &self.expiring,
        }
    }
}

impl Template {
    /// That of a shop that says nothing of it.
    fn usual(kind: EmailKind) -> Self {
        let (subject, text, html) = match kind {
            EmailKind::Reward => (
                "Your reward: {{ title }}",
                include_str!("templates/reward.txt"),
                include_str!("templates/reward.html"),
            ),
            EmailKind::Expiring => (
                "{{ points }} of your points expire soon",
                include_str!("templates/expiring.txt"),
                include_str!("templates/expiring.html"),
            ),
        };
        Self { subject: subject.to_owned(), text: text.to_owned(), html: html.to_owned() }
    }
}

/// The table of a kind, of which a shop may leave out what it does not change.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TemplateTable {
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
}

fn template<'de, D: Deserializer<'de>>(kind: EmailKind, deserializer: D) -> Result<Template, D::Error> {
    let TemplateTable { subject, text, html } = TemplateTable::deserialize(deserializer)?;
    let usual = Template::usual(kind);
    Ok(Template {
        subject: subject.unwrap_or(usual.subject),
        text: text.unwrap_or(usual.text),
        html: html.unwrap_or(usual.html),
    })
}

fn reward<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
    template(EmailKind::Reward, deserializer)
}

fn expiring<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
    template(EmailKind::Expiring, deserializer)
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SmtpUrl>, D::Error> {
    let url = Option::<String>::deserialize(deserializer)?.filter(|url| !url.is_empty());
    let read = url.as_deref().map(SmtpUrl::parse).transpose();
    read.map_err(|error| serde::de::Error::custom(format_args!("mail.smtp cannot be used: {error}")))
}

/// Whole seconds, one to the longest answer that keeps a delivery well below the broker's 30 minutes.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    const LONGEST_SECONDS: u64 = 600;
    let seconds = u64::deserialize(deserializer)?;
    if (1..=LONGEST_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(serde::de::Error::custom("must be 1 to 600 seconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_default_and_a_bound() {
        let read = |json: &str| serde_json::from_str::<MailSettings>(json);
        assert_eq!(read("{}").expect("all defaults").retry_delays.delays().len(), 5);
        let full = r#"{"smtp":"smtp://127.0.0.1:2525","from":"a@b.example","retry_delays":["1s"],"connections":1,
            "per_second":10,"on_unknown":"resend","answer_seconds":5,"reward":{"subject":"s","text":"t","html":"h"},
            "expiring":{"subject":"e"}}"#;
        let full = read(full).expect("all set");
        assert_eq!((full.on_unknown, full.answer), (OnUnknown::Resend, Duration::from_secs(5)));
        assert_eq!((full.reward.html.as_str(), full.expiring.subject.as_str()), ("h", "e"));
        assert_eq!(full.expiring.text, Template::usual(EmailKind::Expiring).text, "what is not said is as usual");
        for wrong in [
            r#"{"conections":1}"#,
            r#"{"connections":0}"#,
            r#"{"per_second":0}"#,
            r#"{"answer_seconds":0}"#,
            r#"{"answer_seconds":601}"#,
            r#"{"retry_delays":[]}"#,
            r#"{"on_unknown":"maybe"}"#,
            r#"{"expiring":{"title":"t"}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
