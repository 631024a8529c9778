//! What the private node is told: its ports, its environment and its configuration files.
//!
//! The environment is complete. Whatever this process inherited, and whatever `/etc/rabbitmq` says about the
//! machine's own node, does not reach ours.

use std::ffi::OsString;

use crate::{
    binaries,
    data_dir::{DataDir, DataDirError},
};

/// The only user of the node. There is no `guest`.
pub(super) const USER: &str = "loyalty";

/// The node's name. Its own port mapper makes it unique; a fixed one keeps the data readable when the machine is
/// renamed, and `localhost` needs no name server.
pub(super) const NODE: &str = "loyalty@localhost";

/// More threads than this do not make a node for demonstrations faster, they make it larger.
const SCHEDULERS_MAX: usize = 4;

/// Below this much free disk the node stops taking messages. The default would stop a nearly full laptop.
const DISK_FREE_LIMIT: &str = "50MB";

/// The log of the quorum queues is kept in memory until it reaches this size; the default of 512 MB is for servers.
const QUORUM_LOG_BYTES: u64 = 64 * 1024 * 1024;

/// Run when the node has booted: takes the management plugin's statistics off the node's event bus. Left there, their
/// end asks the part of the node that waits for that end, and each stop takes five seconds more, until the node gives
/// up on it. A call that fails is no error, and the shell that passes it on allows no space in it.
const AFTER_BOOT: &str = "rpc:call(node(),gen_event,delete_handler,[rabbit_event,rabbit_mgmt_db_handler,[]]).";

/// The four ports of a node, all on 127.0.0.1.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) amqp: u16,
    pub(super) management: u16,
    pub(super) distribution: u16,
    pub(super) epmd: u16,
}

impl Ports {
    /// Those of a node that another process runs.
    pub(super) fn known(data_dir: &DataDir) -> Result<Self, DataDirError> {
        Ok(Self {
            amqp: data_dir.known_port("amqp")?,
            management: data_dir.known_port("management")?,
            distribution: data_dir.known_port("distribution")?,
            epmd: data_dir.known_port("epmd")?,
        })
    }

    pub(super) fn choose(data_dir: &DataDir) -> Result<Self, DataDirError> {
        Ok(Self {
            amqp: data_dir.port("amqp")?,
            management: data_dir.port("management")?,
            distribution: data_dir.port("distribution")?,
            epmd: data_dir.port("epmd")?,
        })
    }
}

/// Writes the configuration files.
pub(super) fn write(data_dir: &DataDir, ports: &Ports, password: &str) -> Result<(), DataDirError> {
    data_dir.write(&data_dir.dir().join("enabled_plugins"), "[rabbitmq_management].\n")?;
    data_dir.write(&data_dir.dir().join("rabbitmq.conf"), &configuration(ports, password))
}

fn configuration(Ports { amqp, management, .. }: &Ports, password: &str) -> String {
    format!(
        "listeners.tcp.local = 127.0.0.1:{amqp}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {management}\n\
         management_agent.disable_metrics_collector = true\n\
         default_user = {USER}\n\
         default_pass = {password}\n\
         disk_free_limit.absolute = {DISK_FREE_LIMIT}\n\
         raft.wal_max_size_bytes = {QUORUM_LOG_BYTES}\n\
         log.console = true\n\
         log.console.level = info\n\
         log.file = false\n"
    )
}

/// The whole environment of the node, of its port mapper and of the programs that talk to them.
pub(super) fn environment(data_dir: &DataDir, ports: &Ports) -> Vec<(&'static str, OsString)> {
    let inside = |name: &str| OsString::from(data_dir.dir().join(name));
    let erlang = binaries::erlang("erl").ok();
    let erlang_dir = erlang.as_deref().and_then(std::path::Path::parent).unwrap_or(std::path::Path::new("/usr/bin"));
    let schedulers = std::thread::available_parallelism().map_or(1, usize::from).min(SCHEDULERS_MAX);
    vec![
        ("PATH", binaries::child_path(erlang_dir)),
        ("LANG", "C.UTF-8".into()),
        // The Erlang cookie is made here, readable by nobody else.
        ("HOME", data_dir.dir().into()),
        ("ERL_EPMD_PORT", ports.epmd.to_string().into()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("ERL_CRASH_DUMP_SECONDS", "0".into()),
        ("RABBITMQ_NODENAME", NODE.into()),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string().into()),
        ("RABBITMQ_MNESIA_BASE", inside("data")),
        ("RABBITMQ_LOG_BASE", inside("log")),
        ("RABBITMQ_LOGS", "-".into()),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins")),
        ("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf")),
        // Named so that the machine's own are not read. They do not exist.
        ("RABBITMQ_CONFIG_FILES", inside("conf.d")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", inside("advanced.config")),
        ("RABBITMQ_CONF_ENV_FILE", inside("rabbitmq-env.conf")),
        // The script then becomes the node instead of watching it, so that a signal reaches the node itself.
        ("RABBITMQ_ALLOW_INPUT", "1".into()),
        ("RABBITMQ_SERVER_START_ARGS", format!("-noinput -eval {AFTER_BOOT}").into()),
        // Threads bound to cores would fight with those of another node.
        ("RABBITMQ_SCHEDULER_BIND_TYPE", "u".into()),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            format!("+S {schedulers}:{schedulers} -start_epmd false -kernel inet_dist_use_interface {{127,0,0,1}}")
                .into(),
        ),
    ]
}
