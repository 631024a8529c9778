//! The interface as it is published, held to what is answered: by schemathesis, which makes up thousands of requests
//! from the document, right ones and wrong ones, and looks at each answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use loyalty_bridge::{AuthMode, Limits};
use loyalty_store::token::Scope;
use tokio::process::Command;

use crate::NO_HEADERS;
use crate::http::send;
use crate::tokens;
use crate::world::World;

/// The tool with all that it needs, by version.
const REQUIREMENTS: &str = include_str!("../schemathesis.txt");

/// Requests for each route and phase: enough to find each of the mistakes that were found at first, within a minute.
const EXAMPLES: &str = "60";

/// Routes whose requests mostly wait, for commands that nobody sent. Processes of their own try them, beside all
/// others; the tool's own threads meet a bug of Python 3.11 (its issue 106905).
const WAITING: [&str; 4] = [
    "/v1/members/{member_id}",
    "/v1/members/{member_id}/ledger",
    "/v1/members/{member_id}/rewards",
    "/v1/members/{member_id}/commands/{command_id}",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_request_that_can_be_made_up_from_the_document_is_answered_otherwise_than_it_says() {
    let world = World::start("openapi").await;
    // Patience with a machine that is busy with other tests, and none with commands that nobody sent.
    let patience = Duration::from_secs(30);
    let limits = Limits {
        read_timeout: patience,
        search_timeout: patience,
        confirm_timeout: patience,
        request_timeout: 2 * patience,
        receipt_wait_max: Duration::from_secs(1),
        ..Limits::default()
    };
    let token = tokens::make(&world, Scope::ALL).await;
    // It also tries each route without a token and with a wrong one.
    let (bridge, _worker) = (world.guarded_bridge(AuthMode::Tokens, limits).await, world.worker().await);
    let schemathesis = schemathesis().await;

    let document = format!("http://{}/openapi.json", bridge.addr);
    let run = async |selection: Vec<&str>| {
        let mut run = Command::new(&schemathesis);
        run.arg("--config-file").arg(beside("schemathesis.toml")).args(["run", &document]).args(&selection);
        run.args(["--header", &format!("Authorization: Bearer {}", token.expose())]);
        run.args(["--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing"]);
        // The same requests each time. What it learns it would keep in the directory where it runs.
        run.args(["--seed", "7", "--generation-database", "none", "--no-color", "--continue-on-failure"]);
        run.args(["--request-timeout", "60"]);
        run.current_dir(env!("CARGO_TARGET_TMPDIR")).kill_on_drop(true);
        let ran = run.output().await.expect("schemathesis runs");
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{selection:?}: {said}");
    };
    let all_others = run(WAITING.iter().flat_map(|path| ["--exclude-path", path]).collect());
    let [member, ledger, rewards, receipt] = WAITING.map(|path| ["--include-path", path]);
    tokio::join!(all_others, run([member, rewards].concat()), run([ledger, receipt].concat()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_stands_alone_and_names_every_route_and_code() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    let page = send(bridge.addr, "GET", "/docs", NO_HEADERS, "").await;
    let document = send(bridge.addr, "GET", "/openapi.json", NO_HEADERS, "").await.json();

    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    for elsewhere in ["<script", "src=", "http://", "https://", "@import", "url("] {
        let places = page.body.match_indices(elsewhere).map(|(at, _)| &page.body[at..(at + 60).min(page.body.len())]);
        assert_eq!(places.collect::<Vec<_>>(), [""; 0], "it loads nothing");
    }
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            assert!(page.body.contains(&format!("<code>{} {path}</code>", method.to_uppercase())), "{method} {path}");
        }
    }
    for code in document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap() {
        assert!(page.body.contains(code.as_str().unwrap()), "{code}");
    }
}

/// The program, in a virtual environment that is made once and kept below the target directory.
async fn schemathesis() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let (program, made_from) = (home.join("bin/schemathesis"), home.join("made-from.txt"));
    // Written last, so that what an interrupted run left is not taken for whole.
    if std::fs::read_to_string(&made_from).is_ok_and(|text| text == REQUIREMENTS) {
        return program;
    }
    let mut failures = Vec::new();
    // The first Python on the path may be one that cannot make environments; Debian's can, with python3-venv.
    for python in ["python3", "/usr/bin/python3"] {
        match made(python, &home).await {
            Ok(()) => {
                std::fs::write(&made_from, REQUIREMENTS).unwrap();
                return program;
            }
            Err(failure) => failures.push(format!("{python}: {failure}")),
        }
    }
    panic!(
        "schemathesis could not be had. It needs Python with venv (Debian: python3-venv; `./run need` sees to it) and \
         the Python Package Index or a mirror of it:\n{}",
        failures.join("\n")
    );
}

async fn made(python: &str, home: &Path) -> Result<(), String> {
    let mut venv = Command::new(python);
    venv.args(["-m", "venv", "--clear"]).arg(home);
    succeeds(venv).await?;
    let mut pip = Command::new(home.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--requirement"]);
    pip.arg(beside("schemathesis.txt"));
    succeeds(pip).await
}

async fn succeeds(mut command: Command) -> Result<(), String> {
    match command.kill_on_drop(true).output().await {
        Err(error) => Err(error.to_string()),
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => Err(format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))),
    }
}

/// A file beside the tests.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}
