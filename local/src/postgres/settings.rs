//! What the private server is told on its command line. Its own configuration file stays as `initdb` made it.

use std::{ffi::OsString, path::Path};

use super::{Durability, USER};

/// Tests that share a server run side by side, each with a pool for each part of the product. Whoever else has a server
/// gets by with PostgreSQL's own 100, as on an installation.
const THROWAWAY_CONNECTIONS: &str = "max_connections=400";

/// The arguments of `initdb`, which makes a cluster in `data`. The superuser's password is in the file `password`.
pub(super) fn initdb(data: &Path, password: &Path, durability: Durability) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["--encoding=UTF8".into(), "--locale=C".into()];
    args.extend(["--auth=scram-sha-256".into(), "--data-checksums".into()]);
    args.extend(["--username".into(), USER.into()]);
    args.extend(["--pwfile".into(), password.into()]);
    args.extend(["--pgdata".into(), data.into()]);
    if durability == Durability::Throwaway {
        args.push("--no-sync".into());
    }
    args
}

/// The arguments of the server on the cluster in `data`.
pub(super) fn server(data: &Path, port: u16, durability: Durability) -> Vec<OsString> {
    let port = format!("port={port}");
    let mut settings = vec![
        port.as_str(),
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        // Enough for the working set of a demonstration; a laptop keeps its memory.
        "shared_buffers=128MB",
        // The one zone that PostgreSQL knows without the system's files, which a bare machine may not have.
        "timezone=GMT",
        "log_timezone=GMT",
        "log_line_prefix=%m [%p] %d ",
    ];
    if durability == Durability::Throwaway {
        settings.extend([THROWAWAY_CONNECTIONS, "fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
        // Compiling a query takes longer than running it on the few rows of a test.
        settings.push("jit=off");
        // Their directory may be in memory.
        settings.push("max_wal_size=128MB");
    }
    let settings = settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]);
    ["-D".into(), data.into()].into_iter().chain(settings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_of_tests_is_made_for_the_connections_of_many_and_forgets_a_commit() {
        let told = |durability, setting: &str| server(Path::new("data"), 5432, durability).contains(&setting.into());
        for setting in [THROWAWAY_CONNECTIONS, "fsync=off"] {
            assert!(told(Durability::Throwaway, setting), "{setting}");
            assert!(!told(Durability::Durable, setting), "{setting}");
        }
    }
}
