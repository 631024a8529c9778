//! The binary under test as a child process that can be killed, and that never outlives its test.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::waiting::eventually;

/// How long a process may take to end when it is asked to: its own deadline to drain, and a slow machine.
const END_LIMIT: Duration = Duration::from_secs(40);

/// Lines of a log that a failing test shows.
const TAIL_LINES: usize = 60;

/// A running `loyalty`.
#[derive(Debug)]
pub struct Program {
    child: Child,
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
    /// Starts `loyalty` with `args`. Standard output goes to `log`.out, standard error to `log`.
    pub(crate) fn start(binary: &Path, args: &[&str], env: &[(String, String)], dir: &Path, log: PathBuf) -> Self {
        let file = |path: &Path| std::fs::File::create(path).expect("a log file");
        // The kernel kills the child when the thread ends that started it, which is the test's own: even when the
        // whole test process is killed, nothing stays behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binary).args(args);
        command.env_clear().envs(env.iter().cloned()).current_dir(dir).stdin(Stdio::null());
        command.stderr(file(&log)).stdout(file(&log.with_extension("out")));
        // Its own group: Ctrl-C in the terminal is for the tests only.
        let child = command.process_group(0).kill_on_drop(true).spawn().expect("setpriv, of util-linux");
        Self { child, log }
    }

    /// SIGKILL: the end without a word.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the process is ours to kill");
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

    /// Waits for its end.
    pub async fn end(mut self) -> Ended {
        let Ok(status) = tokio::time::timeout(END_LIMIT, self.child.wait()).await else {
            panic!("it does not end within {} seconds:\n{}", END_LIMIT.as_secs(), tail(&self.log))
        };
        let code = status.expect("a child's end can be waited for").code();
        Ended { code, output: self.output(), log: self.log() }
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
        eventually(&format!("the log says {text:?}"), async || self.log().contains(text).then_some(())).await;
    }

    /// Waits until a line of standard output begins with `start`, and answers the rest of that line.
    pub async fn prints(&self, start: &str) -> String {
        let rest = async || {
            let output = self.output();
            // Whole lines only: the last may be half written.
            let whole = &output[..output.rfind('\n').unwrap_or(0)];
            whole.lines().find_map(|line| line.strip_prefix(start)).map(|rest| rest.trim().to_owned())
        };
        eventually(&format!("it prints {start:?}"), rest).await
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process has a number");
        kill_process(pid, signal).expect("it runs, or has not been waited for yet");
    }
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
