//! Child processes that end with us, even when we are killed.
//!
//! A child is started through `setpriv --pdeathsig`, which asks the kernel to signal it when its parent ends. For
//! the kernel the parent is the *thread* that started it, so all children are started by one thread that lives as
//! long as the process. Nothing here knows what the children are.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions},
};
use tokio::sync::watch;

use crate::{
    binaries::{self, MissingBinary},
    log_file::LogFile,
    service_user::ServiceUser,
};

/// Why a child could not be started or signalled.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The child's log could not be opened.
    #[error("cannot write the log {}", path.display())]
    Log { path: PathBuf, source: io::Error },
    /// The program could not be started.
    #[error("cannot start {}", program.display())]
    Start { program: PathBuf, source: io::Error },
    /// `setpriv` is not on this machine.
    #[error(transparent)]
    Missing(#[from] MissingBinary),
}

/// What to start, and how it ends.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// The whole environment: nothing of ours is inherited.
    pub(crate) env: Vec<(&'static str, OsString)>,
    pub(crate) dir: PathBuf,
    pub(crate) user: ServiceUser,
    pub(crate) stdin: Stdio,
    pub(crate) log: LogFile,
    /// What [`Process::stop`] sends: asks the child to end in good order.
    pub(crate) stop_signal: EndSignal,
    /// What the kernel sends when we die.
    pub(crate) orphan_signal: EndSignal,
}

/// The signals that end a server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EndSignal {
    Interrupt,
    Terminate,
    Kill,
}

impl EndSignal {
    /// As `setpriv` wants it: it does not take the small numbers.
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::INT,
            Self::Terminate => Signal::TERM,
            Self::Kill => Signal::KILL,
        }
    }
}

/// A running child. Dropping it asks it to end, and does not wait.
#[derive(Debug)]
pub(crate) struct Process {
    child: Arc<Mutex<Child>>,
    pid: Pid,
    stop_signal: EndSignal,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    pub(crate) fn start(launch: Launch) -> Result<Self, ProcessError> {
        let (program, stop_signal) = (launch.program.clone(), launch.stop_signal);
        let failed = |source| ProcessError::Start { program: program.clone(), source };
        let child = spawn(command(launch)?).map_err(failed)?;
        let pid = Pid::from_child(&child);
        let child = Arc::new(Mutex::new(child));
        let exit = watch_exit(pid, Arc::clone(&child)).map_err(failed)?;
        Ok(Self { child, pid, stop_signal, exit })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// A handle that outlives a borrow of the process: resolves when it has ended.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut exit = self.exit.clone();
        async move {
            // An error means that the watching thread is gone, which it is only after the end.
            let _ = exit.wait_for(Option::is_some).await;
        }
    }

    /// Sends a signal, unless the child has ended: its number may belong to somebody else by then.
    pub(crate) fn signal(&self, signal: Signal) {
        let mut child = hold(&self.child);
        if matches!(child.try_wait(), Ok(None)) {
            // The child is not reaped while we hold it, so the number is its own; what is left is a lack of rights,
            // and then the deadline of the caller speaks.
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }

    /// Asks the child to end, and kills it if it has not after `patience`.
    pub(crate) async fn stop(&self, patience: Duration) {
        self.signal(self.stop_signal.signal());
        if tokio::time::timeout(patience, self.ended()).await.is_err() {
            tracing::warn!(process.pid = self.pid.as_raw_nonzero(), "A server did not stop in time; killing it");
            self.kill().await;
        }
    }

    /// Ends the child as a power cut would.
    pub(crate) async fn kill(&self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.stop_signal.signal());
    }
}

/// Becomes the program, unless the parent died before the kernel was asked to tell of its death.
const UNLESS_ORPHANED: &str = r#"[ "$PPID" = "$1" ] || exit; shift; exec "$@""#;

/// The command line: `setpriv [account] --pdeathsig SIGNAL -- sh -c ... program args`.
fn command(launch: Launch) -> Result<Command, ProcessError> {
    let log_failed = |source| ProcessError::Log { path: launch.log.path().to_path_buf(), source };
    let log = launch.log.open().map_err(log_failed)?;
    let log_too = log.try_clone().map_err(log_failed)?;
    let mut command = Command::new(binaries::setpriv()?);
    // The kernel forgets the death signal when the account changes: setpriv sets it last.
    command.args(launch.user.setpriv_args()).arg("--pdeathsig").arg(launch.orphan_signal.name());
    command.args(["--", "/bin/sh", "-c", UNLESS_ORPHANED, "sh"]).arg(std::process::id().to_string());
    command.arg(launch.program).args(launch.args);
    command.env_clear().envs(launch.env).current_dir(launch.dir);
    command.stdin(launch.stdin).stdout(log).stderr(log_too);
    // Its own group: Ctrl-C in the terminal is for us, and we end the servers in order.
    command.process_group(0);
    Ok(command)
}

/// A command for the starting thread, and where its answer goes.
type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a child on the one thread that never ends.
fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts children is gone");
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        let run = move || jobs.into_iter().for_each(|(mut command, answer)| drop(answer.send(command.spawn())));
        // Should the thread not come to be, its end of the channel is gone and each spawn says so.
        let _ = thread::Builder::new().name("child-starter".into()).spawn(run);
        sender
    });
    let (answer, child) = mpsc::sync_channel(1);
    starter.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// A thread that waits for the child's end. It must not reap it outside the lock, or a signal could hit a stranger
/// that got the same number.
fn watch_exit(pid: Pid, child: Arc<Mutex<Child>>) -> io::Result<watch::Receiver<Option<ExitStatus>>> {
    let (ended, exit) = watch::channel(None);
    let wait = move || {
        let wait_for_end = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        while matches!(wait_for_end(), Err(Errno::INTR)) {}
        if let Ok(status) = hold(&child).wait() {
            ended.send_replace(Some(status));
        }
    };
    thread::Builder::new().name("child-watcher".into()).spawn(wait)?;
    Ok(exit)
}

/// A panic while somebody held the child changed nothing about it.
fn hold(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
