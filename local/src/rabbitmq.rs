//! A private `RabbitMQ` node with its own port mapper (`epmd`).
//!
//! Everything listens on 127.0.0.1 only: AMQP, the management API, the node's distribution and `epmd`. Another
//! `RabbitMQ` on this machine, on the usual ports, is neither asked nor disturbed.

mod settings;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

use crate::{
    binaries::{self, MissingBinary},
    data_dir::{DataDir, DataDirError},
    lock::LockError,
    management::{Management, ManagementError, percent_encoded},
    process::{EndSignal, Launch, Process, ProcessError},
    service_user::ServiceUser,
    wait,
};
use settings::{NODE, Ports, USER};

/// A node boots in five to ten seconds; a small machine under load takes several times that.
const START_LIMIT: Duration = Duration::from_secs(90);

/// `epmd` is a small program that only opens a port.
const EPMD_START_LIMIT: Duration = Duration::from_secs(10);

/// A node closes its queues and its tables within a second or two, more if there are many.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// `erl_call` asks the node one question. It does so in milliseconds.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// One answer of the AMQP port while the node starts.
const GREETING_LIMIT: Duration = Duration::from_secs(2);

/// What a client of AMQP 0-9-1 says first; the node answers with its first method.
const AMQP_HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";

/// What can go wrong with the private node.
#[derive(Debug, thiserror::Error)]
pub enum RabbitMqError {
    #[error(transparent)]
    Missing(#[from] MissingBinary),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// It ended, or did not answer in time.
    #[error("{program} did not start; the end of {}:\n{tail}", log.display())]
    Start {
        /// `RabbitMQ` or `epmd`.
        program: &'static str,
        /// Where the whole story is.
        log: PathBuf,
        tail: String,
    },
    /// It did not do what it was asked.
    #[error("RabbitMQ did not do `{call}`; the end of {}:\n{tail}", log.display())]
    Call {
        call: String,
        /// Where the whole story is.
        log: PathBuf,
        tail: String,
    },
}

/// A private node. Dropping it asks the node to stop, and does not wait; [`RabbitMq::stop`] waits.
pub struct RabbitMq {
    data_dir: DataDir,
    ports: Ports,
    password: String,
    management: Management,
    processes: Mutex<Processes>,
}

impl fmt::Debug for RabbitMq {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// The port mapper outlives the node: a killed node comes back to it.
#[derive(Debug, Default)]
struct Processes {
    epmd: Option<Process>,
    node: Option<Process>,
}

impl RabbitMq {
    /// Starts a node with its data in `dir/rabbitmq`, and waits until it serves AMQP and its management API.
    pub async fn start(dir: &Path) -> Result<Self, RabbitMqError> {
        // Before anything is written: a machine without the programs gets no half-made directory.
        binaries::rabbitmq_server()?;
        let data_dir = DataDir::open(dir, "rabbitmq").await?;
        let (ports, password) = (Ports::choose(&data_dir)?, data_dir.password()?);
        settings::write(&data_dir, &ports, &password)?;
        let management = Management::new(ports.management, USER, &password);
        let node = Self { data_dir, ports, password, management, processes: Mutex::default() };
        node.start_again().await?;
        Ok(node)
    }

    /// The node that another process runs in `dir/rabbitmq`: it can be used, and neither started nor stopped.
    pub fn attach(dir: &Path) -> Result<Self, RabbitMqError> {
        let data_dir = DataDir::attach(dir, "rabbitmq")?;
        let (ports, password) = (Ports::known(&data_dir)?, data_dir.password()?);
        let management = Management::new(ports.management, USER, &password);
        Ok(Self { data_dir, ports, password, management, processes: Mutex::default() })
    }

    /// The URL of a virtual host, password included. Without a query: clients do not agree on what may stand there, and
    /// some refuse a URL that has one.
    pub fn url(&self, vhost: &str) -> String {
        let vhost = percent_encoded(vhost);
        format!("amqp://{USER}:{}@127.0.0.1:{}/{vhost}", self.password, self.ports.amqp)
    }

    /// The port of AMQP on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// Where the management API and its pages are; the user is `loyalty` with [`RabbitMq::password`].
    pub fn management_url(&self) -> String {
        self.management.url()
    }

    /// The management API with the login in the URL, as programs take it.
    pub fn management_login_url(&self) -> String {
        format!("http://{USER}:{}@127.0.0.1:{}", self.password, self.ports.management)
    }

    /// The user of [`RabbitMq::url`] and of the management API.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// The password of [`RabbitMq::user`].
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Makes a virtual host in which our user has all rights. One that is there already is kept.
    pub async fn create_vhost(&self, name: &str) -> Result<(), RabbitMqError> {
        Ok(self.management.create_vhost(name, USER).await?)
    }

    /// Lets our user write in a virtual host only to what `write`, a regular expression, matches. What a channel wrote
    /// to before, it goes on writing to: brokers remember that.
    pub async fn allow_writing(&self, vhost: &str, write: &str) -> Result<(), RabbitMqError> {
        Ok(self.management.set_permissions(vhost, USER, write).await?)
    }

    /// Removes a virtual host and everything in it.
    pub async fn delete_vhost(&self, name: &str) -> Result<(), RabbitMqError> {
        Ok(self.management.delete_vhost(name).await?)
    }

    /// Stops in good order and starts again on the same ports.
    pub async fn restart(&self) -> Result<(), RabbitMqError> {
        self.stop_node().await;
        self.start_again().await
    }

    /// Stops the node and its port mapper. Does nothing if they do not run.
    pub async fn stop(&self) {
        self.stop_node().await;
        if let Some(epmd) = self.processes.lock().await.epmd.take() {
            epmd.stop(STOP_LIMIT).await;
        }
    }

    /// Ends the node at once, as a power cut would. Does nothing if it does not run.
    pub async fn kill(&self) {
        if let Some(node) = self.processes.lock().await.node.take() {
            node.kill().await;
        }
    }

    /// Starts it after [`RabbitMq::stop`] or [`RabbitMq::kill`], on the same ports with the same data. Does nothing
    /// if it runs.
    pub async fn start_again(&self) -> Result<(), RabbitMqError> {
        let mut processes = self.processes.lock().await;
        // First the mapper: a node that finds none would start one of its own, as a daemon that nobody ends.
        if !is_running(processes.epmd.as_ref()) {
            processes.epmd = Some(self.start_epmd().await?);
        }
        if !is_running(processes.node.as_ref()) {
            processes.node = Some(self.start_node().await?);
        }
        Ok(())
    }

    /// Puts the node into the state of one that is short of memory, in which it takes no messages from anybody; or
    /// out of it, as it is when it starts. Whoever publishes afterwards meets the new state.
    pub async fn set_memory_alarm(&self, on: bool) -> Result<(), RabbitMqError> {
        const NONE: &str = "vm_memory_monitor set_vm_memory_high_watermark [0.0]";
        const MOST: &str = "vm_memory_monitor set_vm_memory_high_watermark [0.6]";
        self.call(if on { NONE } else { MOST }).await?;
        // Who answers this has told the connections before.
        self.call("rabbit_alarm get_alarms []").await
    }

    /// Stops the leader of a quorum queue, which has no other member on this one node: the queue stands and neither
    /// takes nor gives, as in a cluster without a majority.
    pub async fn stop_leader(&self, vhost: &str, queue: &str) -> Result<(), RabbitMqError> {
        self.call(&format!("ra stop_server [quorum_queues,{}]", leader(vhost, queue))).await
    }

    /// Starts it again after [`RabbitMq::stop_leader`].
    pub async fn start_leader(&self, vhost: &str, queue: &str) -> Result<(), RabbitMqError> {
        self.call(&format!("ra restart_server [quorum_queues,{}]", leader(vhost, queue))).await
    }

    /// Has the leader of a quorum queue answer nothing: what is published is neither confirmed nor refused.
    pub async fn freeze_leader(&self, vhost: &str, queue: &str) -> Result<(), RabbitMqError> {
        self.call(&format!("sys suspend ['{vhost}_{queue}']")).await
    }

    /// Has it go on after [`RabbitMq::freeze_leader`].
    pub async fn thaw_leader(&self, vhost: &str, queue: &str) -> Result<(), RabbitMqError> {
        self.call(&format!("sys resume ['{vhost}_{queue}']")).await
    }

    /// Resolves when the node that runs now has ended, for whatever reason; at once if none runs.
    pub async fn ended(&self) {
        let ended = self.processes.lock().await.node.as_ref().map(Process::ended);
        if let Some(ended) = ended {
            ended.await;
        }
    }

    /// Where the node writes its log.
    pub fn log(&self) -> PathBuf {
        self.data_dir.log("rabbitmq").path().to_path_buf()
    }

    async fn stop_node(&self) {
        if let Some(node) = self.processes.lock().await.node.take() {
            node.stop(STOP_LIMIT).await;
        }
    }

    async fn start_epmd(&self) -> Result<Process, RabbitMqError> {
        let program = binaries::erlang("epmd")?;
        let port = self.ports.epmd;
        let args = ["-port".into(), port.to_string().into(), "-address".into(), "127.0.0.1".into()].to_vec();
        let epmd = self.launch(program, args, "epmd", self.data_dir.lock_for_child()?)?;
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        self.wait_ready(&epmd, EPMD_START_LIMIT, "epmd", listens).await?;
        Ok(epmd)
    }

    async fn start_node(&self) -> Result<Process, RabbitMqError> {
        let lock = self.data_dir.lock_for_child()?;
        let node = self.launch(binaries::rabbitmq_server()?, Vec::new(), "rabbitmq", lock)?;
        let serves = async || self.greets().await && self.management.ping().await.is_ok();
        self.wait_ready(&node, START_LIMIT, "rabbitmq", serves).await?;
        Ok(node)
    }

    /// Calls a function inside the node. `rabbitmqctl` would do as well, as a virtual machine of its own that takes
    /// seconds to start.
    async fn call(&self, call: &str) -> Result<(), RabbitMqError> {
        // Two at once under one name would be one and the same to the node.
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("erl_call_{}_{}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed));
        let args = ["-h", &name, "-sname", NODE, "-a", call].map(Into::into).to_vec();
        let log = self.data_dir.log(&name);
        let asking = self.launch(binaries::erlang("erl_call")?, args, &name, Stdio::null())?;
        let in_time = tokio::time::timeout(CALL_LIMIT, asking.ended()).await.is_ok();
        let succeeds = in_time && asking.exit_status().is_some_and(|status| status.success());
        // A function that fails is a success of the call.
        if succeeds && !log.tail().contains("badrpc") {
            // Only what went wrong is of interest later.
            let _ = std::fs::remove_file(log.path());
            return Ok(());
        }
        Err(RabbitMqError::Call { call: call.to_owned(), tail: log.tail(), log: log.path().to_path_buf() })
    }

    fn launch(&self, program: PathBuf, args: Vec<OsString>, log: &str, stdin: Stdio) -> Result<Process, RabbitMqError> {
        let launch = Launch {
            program,
            args,
            env: settings::environment(&self.data_dir, &self.ports),
            dir: self.data_dir.dir().to_path_buf(),
            user: ServiceUser::Own,
            stdin,
            log: self.data_dir.log(log),
            stop_signal: EndSignal::Terminate,
            // A node forgets a TERM that comes early in its boot, and would live on. What it has confirmed is on disk.
            orphan_signal: EndSignal::Kill,
        };
        Ok(Process::start(launch)?)
    }

    /// Whether the AMQP port does not only accept but answers.
    async fn greets(&self) -> bool {
        let greeting = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.ports.amqp)).await?;
            stream.write_all(AMQP_HELLO).await?;
            stream.read_u8().await
        };
        // A method frame is of type 1. A node that refuses the protocol answers with the letter A.
        matches!(tokio::time::timeout(GREETING_LIMIT, greeting).await, Ok(Ok(1)))
    }

    async fn wait_ready(
        &self,
        process: &Process,
        limit: Duration,
        program: &'static str,
        ready: impl AsyncFn() -> bool,
    ) -> Result<(), RabbitMqError> {
        let ready = async || match (process.exit_status(), ready().await) {
            (None, is_ready) => is_ready.then_some(true),
            (Some(_), _) => Some(false),
        };
        if wait::within(limit, ready).await == Some(true) {
            return Ok(());
        }
        let log = self.data_dir.log(program);
        Err(RabbitMqError::Start { program, tail: log.tail(), log: log.path().to_path_buf() })
    }
}

/// What RabbitMQ calls the member of a queue's Raft group on this node.
fn leader(vhost: &str, queue: &str) -> String {
    format!("{{'{vhost}_{queue}','{NODE}'}}")
}

fn is_running(process: Option<&Process>) -> bool {
    process.is_some_and(|process| process.exit_status().is_none())
}
