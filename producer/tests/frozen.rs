//! A broker that accepts connections and never says anything.
//!
//! Alone in its binary, since it counts the threads and sockets of the process.

use std::time::Duration;

use loyalty_common::amqp;
use loyalty_common::secret::SecretUrl;
use loyalty_local::wait::{PATIENCE, within};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Attempts that are given up. Each would keep a thread and a socket.
const ATTEMPTS: usize = 8;

/// Longer than a local connection takes, shorter than our own deadline: each attempt is given up in the middle.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(300);

/// Threads of lapin's.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the threads of this process").flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin")).count()
}

fn sockets() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").expect("the open files of this process").flatten();
    let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_at_a_frozen_broker_leave_neither_threads_nor_sockets_behind() {
    for scheme in ["amqp", "amqps"] {
        // Its backlog accepts, and nobody reads.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let url = SecretUrl::known(format!("{scheme}://loyalty:secret@127.0.0.1:{port}/shop"));
        let attempt = async || assert!(timeout(GIVEN_UP_AFTER, amqp::connect(&url, "test")).await.is_err());
        // What a process needs once is there after the first.
        attempt().await;
        let before = sockets();
        for _ in 0..ATTEMPTS {
            attempt().await;
        }
        let mut left = (0, 0);
        let nothing = async || {
            left = (threads(), sockets().saturating_sub(before));
            (left == (0, 0)).then_some(())
        };
        let gone = within(PATIENCE, nothing).await;
        assert!(gone.is_some(), "{scheme}: threads and sockets that are left: {left:?}");
    }
}
