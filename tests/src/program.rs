//! The binary under test as a child process that can be killed, and that never outlives its test.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::binary;
use loyalty_local::wait::eventually;

/// How long a process may take to end: it bounds one that hangs. An import of seconds takes ten times as long where
/// four tests and their workers share two slow cores.
const END_LIMIT: Duration = Duration::from_secs(120);

/// What the processes log. More than by default: what must not be logged must not be logged at any level of ours.
const LOG_FILTER: &str = "info,lapin=off,lettre=warn,loyalty_worker=debug,loyalty_bridge=debug,loyalty_store=debug";

/// Lines of a log that a failing test shows.
const TAIL_LINES: usize = 60;

/// A running `loyalty`.
#[derive(Debug)]
pub struct Program {
    /// Locked only to look at it: waiting takes it out.
    child: Mutex<Child>,
    log: PathBuf,
}

/// How it ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub log: String,
}

impl Program {
    /// Starts `loyalty` in `dir`. Standard error goes to `log`, standard output beside it.
    pub(crate) async fn start(args: &[&str], env: &[(&str, String)], dir: &Path, log: PathBuf) -> Self {
        let file = |path: &Path| std::fs::File::create(path).expect("a log file");
        // The kernel kills the child when the thread ends that started it, which is the test's own: even when the
        // whole test process is killed, nothing stays behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binary::loyalty().await).args(args);
        command.env_clear().envs(env.iter().cloned()).current_dir(dir).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("RUST_LOG", LOG_FILTER).env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
        command.stderr(file(&log)).stdout(file(&log.with_extension("out")));
        // Its own group: Ctrl-C in the terminal is for the tests only.
        let child = command.process_group(0).kill_on_drop(true).spawn().expect("setpriv, of util-linux");
        Self { child: Mutex::new(child), log }
    }

    /// Starts `loyalty` in `dir` and tells it nothing of any server.
    pub async fn alone(args: &[&str], dir: &Path) -> Self {
        let log = dir.join(format!("{}.log", args.first().unwrap_or(&"loyalty")));
        Self::start(args, &[], dir, log).await
    }

    /// SIGKILL: the end without a word.
    pub async fn kill(self) {
        self.into_child().kill().await.expect("the process is ours to kill");
    }

    /// SIGTERM, and what comes of it.
    pub async fn terminate(self) -> Ended {
        self.signal(Signal::TERM);
        self.end().await
    }

    /// SIGINT, as by Ctrl-C, and what comes of it.
    pub async fn interrupt(self) -> Ended {
        self.signal(Signal::INT);
        self.end().await
    }

    /// SIGSTOP: it stands still, with all its connections open.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for its end.
    pub async fn end(self) -> Ended {
        let (log, output) = (self.log.clone(), self.log.with_extension("out"));
        let Ok(status) = tokio::time::timeout(END_LIMIT, self.into_child().wait()).await else {
            panic!("it does not end within {} seconds:\n{}", END_LIMIT.as_secs(), tail(&log))
        };
        let code = status.expect("a child's end can be waited for").code();
        Ended { code, output: read(&output), log: read(&log) }
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// What it wrote to standard output so far.
    pub fn output(&self) -> String {
        read(&self.log.with_extension("out"))
    }

    /// Waits until it has logged `text`.
    pub async fn says(&self, text: &str) {
        self.until(&format!("the log says {text:?}"), || self.log().contains(text).then_some(())).await;
    }

    /// Waits until it has logged a word that begins with `start`, and answers the rest of that word.
    pub async fn tells(&self, start: &str) -> String {
        self.until(&format!("the log tells {start:?}"), || word(&self.log(), start)).await
    }

    /// The same for standard output.
    pub async fn prints(&self, start: &str) -> String {
        self.until(&format!("it prints {start:?}"), || word(&self.output(), start)).await
    }

    /// Waits for what a process that has ended will never do.
    async fn until<T>(&self, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let ask = async || {
            let ended = self.child().try_wait().expect("a child can be looked at").is_some();
            let done = done();
            assert!(done.is_some() || !ended, "it ended before {what}:\n{}", tail(&self.log));
            done
        };
        eventually(what, ask).await
    }

    pub fn pid(&self) -> u32 {
        self.child().id().expect("it has not been waited for")
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().expect("nobody panics while holding it")
    }

    fn into_child(self) -> Child {
        self.child.into_inner().expect("nobody panics while holding it")
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process has a number");
        kill_process(pid, signal).expect("it runs, or has not been waited for yet");
    }
}

/// What follows `start` up to the next white space, which must be there already: the last line may be half written.
fn word(text: &str, start: &str) -> Option<String> {
    let (_, rest) = text.split_once(start)?;
    let (word, _) = rest.split_once(char::is_whitespace)?;
    Some(word.to_owned())
}

/// The ends of all logs in a directory, for a test that fails.
pub(crate) fn tails(dir: &Path) -> String {
    let mut logs: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    logs.iter().fold(String::new(), |mut text, log| {
        let _ = writeln!(text, "---- the end of {}\n{}", log.display(), tail(log));
        text
    })
}

fn tail(log: &Path) -> String {
    let text = read(log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
