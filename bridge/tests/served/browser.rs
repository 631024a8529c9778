//! What a web page of somebody else can do to a bridge that asks for no tokens, in a real browser: nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use loyalty_bridge::Limits;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::NO_HEADERS;
use crate::http::send;
use crate::world::World;

/// Debian's, which `./run need` installs.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Quiet, without a screen, and asking nobody else for anything.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP rebind.example 127.0.0.1",
];

/// How long a browser may take on a busy machine, in seconds and, for the time within its pages, milliseconds.
const BROWSER_SECONDS: &str = "90";
const PAGE_MS: &str = "--virtual-time-budget=15000";

/// What stands on a page once the browser has done all that it asks for. None, and said so, without a browser.
async fn browse(url: &str) -> Option<String> {
    if !Path::new(CHROMIUM).is_file() {
        eprintln!("SKIPPED: there is no {CHROMIUM}; `apt-get install chromium` has it");
        return None;
    }
    let (profile, url) = (TempDir::new().unwrap(), url.to_owned());
    let browsing = tokio::task::spawn_blocking(move || {
        let mut browser = Command::new("timeout");
        browser.args(["--kill-after=5", BROWSER_SECONDS, CHROMIUM]).args(FLAGS).args([PAGE_MS, "--dump-dom"]);
        browser.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
        browser.env("HOME", profile.path()).stdin(Stdio::null()).output().unwrap()
    });
    let output = browsing.await.unwrap();
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}", output.status);
    Some(shown.into_owned())
}

/// Serves a page to whoever asks, for as long as the test runs.
async fn page(html: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = html.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n");
            // A browser asks in one packet, and opens connections on which it asks for nothing.
            let answer = format!("{head}Connection: close\r\n\r\n{html}");
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4_096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    addr
}

/// How many requests ended so.
fn count(metrics: &str, method: &str, status: u16) -> usize {
    let (method, status) = (format!("method=\"{method}\""), format!("status=\"{status}\""));
    let lines = metrics.lines().filter(|line| line.starts_with("loyalty_bridge_requests_total"));
    let counted = lines.filter(|line| line.contains(&method) && line.contains(&status));
    counted.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_moves_no_points() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    for (round, host) in ["127.0.0.1", "localhost"].into_iter().enumerate() {
        let target = format!("http://{host}:{}", bridge.addr.port());
        let fetches = page(format!(
            "<script>const tell = {{method: 'POST', mode: 'no-cors', body: '', headers: {{'Content-Type': 'text/plain'}}}};
             (async () => {{
                 await fetch('{target}/mallory', tell);
                 await fetch('{target}/mallory/add_points/777', tell);
                 document.title = 'done';
             }})();</script>"
        ));
        let form = page(format!(
            "<form method=post action='{target}/mallory/add_points/777'></form><script>document.forms[0].submit()</script>"
        ));
        let Some(shown) = browse(&format!("http://{}/", fetches.await)).await else { return };
        assert!(shown.contains("<title>done</title>"), "the page did not do its worst: {shown}");
        let Some(shown) = browse(&format!("http://{}/", form.await)).await else { return };
        assert!(shown.contains("cross_site"), "{shown}");
        let metrics = send(bridge.addr, "GET", "/metrics", NO_HEADERS, "").await.body;
        assert_eq!(count(&metrics, "POST", 403), 3 * (round + 1), "{metrics}");
    }
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_others_that_leads_here_reads_nothing() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    for path in ["/v1/members", "/mallory", "/metrics", "/docs", "/nothing/here/at/all"] {
        let Some(shown) = browse(&format!("http://rebind.example:{}{path}", bridge.addr.port())).await else { return };
        assert!(shown.contains("unknown_host"), "{path}: {shown}");
    }
    // It is a browser's way as well by which its users come.
    let own = browse(&format!("http://localhost:{}/docs", bridge.addr.port())).await.unwrap();
    assert!(own.contains("add_points"), "{own}");
}
