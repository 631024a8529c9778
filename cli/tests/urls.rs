//! URLs that cannot be used, in every place where one can be given: one error, exit code 2, and nothing of them in it.

use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;

/// Stands somewhere in each URL, and in nothing that is said.
const PASSWORD: &str = "S3CRT99";

/// Long enough to be recognised when a URL was cut in the middle.
const PIECES: [&str; 2] = ["S3CR", "RT99"];

/// A setting: its flag, its variable, the schemes of its URLs, and a command that needs it and ends when it is read.
struct Setting {
    flag: Option<&'static str>,
    variable: &'static str,
    scheme: &'static str,
    command: &'static [&'static str],
}

const SETTINGS: &[Setting] = &[
    Setting { flag: Some("--amqp-url"), variable: "LOYALTY_AMQP_URL", scheme: "amqp", command: &["topology"] },
    Setting {
        flag: Some("--management-url"),
        variable: "LOYALTY_MANAGEMENT_URL",
        scheme: "http",
        command: &["topology", "--amqp-url", "amqp://127.0.0.1:1"],
    },
    Setting {
        flag: Some("--database-url"),
        variable: "LOYALTY_DATABASE_URL",
        scheme: "postgres",
        command: &["verify"],
    },
    Setting { flag: Some("--smtp-url"), variable: "LOYALTY_SMTP_URL", scheme: "smtp", command: &["worker"] },
    // Only a binary that can send traces looks at it; the other says that it cannot.
    #[cfg(feature = "otel")]
    Setting { flag: None, variable: "OTEL_EXPORTER_OTLP_ENDPOINT", scheme: "http", command: &["worker"] },
];

fn loyalty(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loyalty"));
    command.env_clear().current_dir(dir);
    command
}

/// What was said, and how it ended.
fn said(command: &mut Command) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    (String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(), status.code())
}

/// By its flag and by its variable.
fn given(setting: &Setting, url: &str, dir: &Path) -> Vec<(String, Option<i32>)> {
    let by_variable = said(loyalty(dir).args(setting.command).env(setting.variable, url));
    let by_flag = setting.flag.map(|flag| said(loyalty(dir).args(setting.command).arg(format!("{flag}={url}"))));
    std::iter::once(by_variable).chain(by_flag).collect()
}

fn shows_nothing(said: &str) -> bool {
    !PIECES.iter().any(|piece| said.contains(piece)) && !said.contains("panicked")
}

#[test]
fn a_url_that_cannot_be_used_is_one_error_and_exit_code_2() {
    let dir = tempfile::tempdir().expect("a directory");
    for setting in SETTINGS {
        let scheme = setting.scheme;
        for url in [
            PASSWORD.to_owned(),
            format!("ann:{PASSWORD}@127.0.0.1:1"),
            format!("{scheme}s3://ann:{PASSWORD}@127.0.0.1:1"),
            format!("{scheme}://ann:{PASSWORD}@127.0.0.1:port/x"),
            format!("{scheme}://ann:{PASSWORD}@host@127.0.0.1:x/x"),
            format!("{scheme}://ann:{PASSWORD}@x@127.0.0.1:1/x"),
            format!("{scheme}:/ann:{PASSWORD}@127.0.0.1:65536/x"),
        ] {
            for (said, code) in given(setting, &url, dir.path()) {
                assert!(shows_nothing(&said), "{url}: {said}");
                assert_eq!(code, Some(2), "{url}: {said}");
                assert_eq!(said.matches("error:").count(), 1, "{url}: {said}");
                assert!(said.starts_with("error: the URL in ") && said.contains(setting.variable), "{url}: {said}");
            }
        }
    }
}

/// Each command that takes a URL ends by it; none tries it again and again.
#[test]
fn no_command_goes_on_with_a_url_that_cannot_be_used() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("june.csv"), "id,points\n").expect("a file");
    let (bad, good) = (format!("amqp://ann:S3CR/{PASSWORD}@host"), "postgres://127.0.0.1:1/x");
    for args in [
        &["worker"][..],
        &["bridge"],
        &["dev"],
        &["topology"],
        &["topology", "--check"],
        &["publish", "earn", "ann", "5"],
        &["import", "june.csv", "--member", "id", "--amount", "points", "--rate", "1"],
        &["dead-letters", "replay", "--all", "--yes"],
    ] {
        let mut command = loyalty(dir.path());
        let (said, code) = said(command.args(args).args(["--amqp-url", &bad, "--database-url", good]));
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(shows_nothing(&said) && said.contains("the URL in --amqp-url"), "{args:?}: {said}");
        assert_eq!(said.matches("error:").count(), 1, "{args:?}: {said}");
    }
}

/// What clap cannot read it quotes.
#[test]
fn a_url_in_a_wrong_place_is_not_quoted() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("amqp://ann:{PASSWORD}@host");
    let [wrong_flag, value] = [format!("--amqp-ulr={url}"), format!("--wait={url}")];
    for args in [
        &[url.as_str()][..],
        &["worker", &url],
        &["worker", &wrong_flag],
        &["publish", "earn", "ann", &url],
        &["publish", "earn", "ann", "5", &value],
    ] {
        let (said, code) = said(loyalty(dir.path()).args(args));
        assert_eq!(code, Some(2), "{said}");
        assert!(shows_nothing(&said), "{args:?}: {said}");
    }
    let (said, code) = said(loyalty(dir.path()).arg("bridge").env("LOYALTY_HTTP", &url));
    assert_eq!((shows_nothing(&said), code), (true, Some(2)), "{said}");
}

/// loyalty.toml: the key and what is allowed, and never the password that stands in it.
#[test]
fn a_wrong_programme_is_one_error_that_names_the_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |text: &str, key: &str| {
        std::fs::write(dir.path().join("loyalty.toml"), text).expect("a file");
        for command in ["worker", "dev"] {
            let mut ended = loyalty(dir.path());
            ended.args([command, "--amqp-url", "amqp://127.0.0.1:1", "--database-url", "postgres://127.0.0.1:1/x"]);
            let (said, code) = said(&mut ended);
            assert_eq!(code, Some(2), "{said}");
            assert!(said.starts_with("error: ") && said.contains(key) && shows_nothing(&said), "{said}");
            assert_eq!(said.matches("error:").count(), 1, "{said}");
        }
    };
    check("[mail]\nfrom = \"Shop (Berlin) <rewards@shop.example.com>\"", "mail.from must be an address");
    check(&format!("[mail]\nsmtp = \"smtp://ann:S3CR?{PASSWORD}@mail.example.com\""), "mail.smtp");
    check("[mail.reward]\nsubject = \"{{ nonsense }}\"", "mail.reward.subject");
    check("[mail.expiring]\nhtml = \"{{ title }}\"", "mail.expiring.html");
    check("[programme]\nmilestone = -1", "programme.milestone must be");
    check("[mail]\nretry_delays = []", "mail.retry_delays");
    check("[mail]\nanswer_seconds = 0", "mail.answer_seconds");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is wrong with it.
    #[test]
    fn a_password_is_in_no_output(
        prefix in "[a-z]{0,2}", separator in "(:|:/|://|:///|)", before in "[a-z0-9:/?#@%\\[\\] ]{0,4}",
        after in "[a-z0-9:/?#@%\\[\\] ]{0,4}", tail in "(@127\\.0\\.0\\.1:1|@127\\.0\\.0\\.1:1/x|@127\\.0\\.0\\.1:x|@:1|@)(\\?[a-z=@]{0,6})?",
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        for setting in SETTINGS {
            let url = format!("{}{prefix}{separator}ann:{before}{PASSWORD}{after}{tail}", setting.scheme);
            for (said, code) in given(setting, &url, dir.path()) {
                prop_assert!(shows_nothing(&said), "{}: {}", url, said);
                prop_assert!(code.is_some_and(|code| code != 0), "{}: {}", url, said);
            }
        }
    }
}
