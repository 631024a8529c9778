//! `loyalty dev`: everything in one process, and nothing left of it afterwards but its data.

use std::net::SocketAddr;
use std::path::Path;

use loyalty_tests::http::{self, Answer};
use loyalty_tests::{Program, eventually, scratch};
use serde_json::json;

/// The private servers keep what they were told, and no process stays behind.
#[tokio::test]
async fn dev_serves_stops_and_goes_on_where_it_was() {
    let dir = scratch("dev");
    let (dev, bridge) = start(&dir).await;
    let post = async |path: &str, body: Option<&str>| send(bridge, "POST", path, body).await;
    let enrolled = post("/123", Some(r#"{"email":"ann@example.com"}"#)).await;
    // Applied; or, on a busy machine, on its way.
    assert!([201, 202].contains(&enrolled.status), "{enrolled:?}");
    let earned = post("/123/add_points/1200", None).await;
    assert!([200, 202].contains(&earned.status), "{earned:?}");
    let emails = dir.join(".loyalty/mail");
    eventually("an email is written", async || email_in(&emails)).await;

    // Other clients read the URLs too, and some refuse what follows a question mark.
    let left = std::fs::read_to_string(dir.join(".loyalty/dev.json")).expect("it says where its servers are");
    assert!(left.contains("amqp_url") && !left.contains('?'), "{left}");

    // Another command finds the servers by itself, from a directory below.
    let below = dir.join("below");
    std::fs::create_dir_all(&below).expect("a directory");
    let spend =
        Program::alone(&["publish", "spend", "123", "150", "--wait", "30s", "--json"], &below).await.end().await;
    assert_eq!(spend.code, Some(0), "{}{}", spend.output, spend.log);
    let second = Program::alone(&["dev", "--data", "../.loyalty"], &below).await.end().await;
    assert_ne!(second.code, Some(0));
    assert!(second.log.contains("in use") || second.log.contains("already"), "{}", second.log);

    let children = descendants(dev.pid());
    assert!(children.len() > 3, "its servers are its children: {children:?}");
    let ended = dev.interrupt().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let gone = async || children.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()).then_some(());
    eventually("no process is left", gone).await;

    let (dev, bridge) = start(&dir).await;
    let shown = send(bridge, "GET", "/123", None).await;
    assert_eq!((shown.status, &shown.json()["points"]), (200, &json!(1050)));
    let verified = Program::alone(&["verify"], &below).await.end().await;
    assert_eq!(verified.code, Some(0), "{}{}", verified.output, verified.log);
    assert_eq!(dev.terminate().await.code, Some(0));
}

async fn start(dir: &Path) -> (Program, SocketAddr) {
    let dev = Program::alone(&["dev", "--http", "127.0.0.1:0"], dir).await;
    let addr = dev.prints("ready http://").await.parse().expect("an address");
    (dev, addr)
}

async fn send(bridge: SocketAddr, method: &str, path: &str, body: Option<&str>) -> Answer {
    let headers = if body.is_some() { &[("content-type", "application/json")][..] } else { &[] };
    http::send(bridge, method, path, headers, body).await
}

fn email_in(dir: &Path) -> Option<()> {
    let mut files = std::fs::read_dir(dir).ok()?.filter_map(Result::ok);
    files.any(|file| file.path().extension().is_some_and(|extension| extension == "eml")).then_some(())
}

/// The process's children, theirs, and so on.
fn descendants(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().filter_map(Result::ok);
    let children = tasks.flat_map(|task| {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    });
    children.flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}
