//! Runs a command beside private servers that all tests in it share: `with-servers COMMAND [ARGUMENT...]`.
//!
//! The servers and their directory go when this process has ended, however it ends, and the command is told to end too.

use std::process::ExitCode;

use loyalty_local::{Durability, Servers};
use loyalty_testkit::{scratch, servers};
use tokio::process::Command;

// One thread: the kernel tells the command of the end of the thread that started it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let dir = scratch::root();
    let _servers = Servers::start(dir, Durability::Throwaway).await.expect("private servers");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).args(std::env::args_os().skip(1)).env(servers::SERVERS, dir);
    let status = command.status().await.expect("setpriv, of util-linux");
    // Ended by a signal, it has no code.
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
