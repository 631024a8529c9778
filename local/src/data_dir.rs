//! The directory of one server: its data, its password, the ports it had last time, and the lock on all of it.
//!
//! Knows nothing of what the server keeps there.

mod unprivileged;

use std::{
    fs::OpenOptions,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    lock::{Lock, LockError},
    log_file::LogFile,
    ports,
    service_user::{ServiceUser, ServiceUserError},
};

/// Random bytes of a password: 144 bits, written as hexadecimal digits, so that no URL needs to escape it.
const PASSWORD_BYTES: usize = 18;

/// Why a server's directory could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A file or directory in it could not be read or written.
    #[error("cannot use {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Somebody else uses it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The account that the server runs as.
    #[error(transparent)]
    ServiceUser(#[from] ServiceUserError),
    /// No port of 127.0.0.1 is free.
    #[error("cannot find a free port on 127.0.0.1")]
    Port(#[source] io::Error),
}

/// A server's directory, held for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    dir: PathBuf,
    logs: PathBuf,
    user: ServiceUser,
    /// None if another process runs the server.
    lock: Option<Lock>,
}

impl DataDir {
    /// Opens `base/name` for a server that runs as we do.
    pub(crate) async fn open(base: &Path, name: &str) -> Result<Self, DataDirError> {
        let base = prepare(base)?;
        Self::open_as(&base, name, ServiceUser::Own).await
    }

    /// Opens `base/name` for a server that refuses to run as root.
    pub(crate) async fn open_not_as_root(base: &Path, name: &str) -> Result<Self, DataDirError> {
        let base = prepare(base)?;
        let user = ServiceUser::not_root(&base.join(name))?;
        Self::open_as(&base, name, user).await
    }

    async fn open_as(base: &Path, name: &str, user: ServiceUser) -> Result<Self, DataDirError> {
        let asked = base.join(name);
        if !asked.exists() {
            unprivileged::make(&asked, &user).await?;
        }
        let dir = asked.canonicalize().map_err(|source| DataDirError::Io { path: asked, source })?;
        let lock = Lock::take(&dir).await?;
        Ok(Self { dir, logs: base.join("log"), user, lock: Some(lock) })
    }

    /// Looks into `base/name`, whose server another process runs.
    pub(crate) fn attach(base: &Path, name: &str) -> Result<Self, DataDirError> {
        let base = prepare(base)?;
        let path = base.join(name);
        let dir = path.canonicalize().map_err(|source| DataDirError::Io { path, source })?;
        Ok(Self { dir, logs: base.join("log"), user: ServiceUser::Own, lock: None })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn user(&self) -> &ServiceUser {
        &self.user
    }

    /// See [`Lock::for_child`].
    pub(crate) fn lock_for_child(&self) -> Result<Stdio, LockError> {
        let lock = self.lock.as_ref().ok_or_else(|| LockError::Attached { dir: self.dir.clone() })?;
        lock.for_child()
    }

    /// The port for the purpose `name` on which the server listens that another process runs.
    pub(crate) fn known_port(&self, name: &str) -> Result<u16, DataDirError> {
        let path = self.dir.join(name).with_extension("port");
        let known = read(&path)?.and_then(|text| text.parse().ok());
        let missing = || DataDirError::Io { path, source: io::ErrorKind::NotFound.into() };
        known.ok_or_else(missing)
    }

    /// The log of the child called `name`, beside those of the other servers.
    pub(crate) fn log(&self, name: &str) -> LogFile {
        LogFile::new(self.logs.join(name).with_extension("log"))
    }

    /// The server's password, made at the first call and kept.
    pub(crate) fn password(&self) -> Result<String, DataDirError> {
        let path = self.dir.join("password");
        if let Some(known) = read(&path)? {
            return Ok(known);
        }
        let password = random_password().map_err(|source| DataDirError::Io { path: "/dev/urandom".into(), source })?;
        self.write(&path, &password)?;
        Ok(password)
    }

    /// The port for the purpose `name`: that of the last run if nobody has taken it since.
    pub(crate) fn port(&self, name: &str) -> Result<u16, DataDirError> {
        let path = self.dir.join(name).with_extension("port");
        let last = read(&path)?.and_then(|text| text.parse().ok());
        let port = ports::free(last).map_err(DataDirError::Port)?;
        if last != Some(port) {
            self.write(&path, &port.to_string())?;
        }
        Ok(port)
    }

    /// Writes a file that only the server's account may read.
    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<(), DataDirError> {
        let error = |source| DataDirError::Io { path: path.to_path_buf(), source };
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(error)?;
        file.write_all(text.as_bytes()).map_err(error)?;
        Ok(self.user.give(path)?)
    }
}

/// Makes `base` and its log directory, and answers its full path.
fn prepare(base: &Path) -> Result<PathBuf, DataDirError> {
    let logs = base.join("log");
    std::fs::create_dir_all(&logs).map_err(|source| DataDirError::Io { path: logs, source })?;
    base.canonicalize().map_err(|source| DataDirError::Io { path: base.to_path_buf(), source })
}

fn read(path: &Path) -> Result<Option<String>, DataDirError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataDirError::Io { path: path.to_path_buf(), source }),
    }
}

fn random_password() -> io::Result<String> {
    let mut bytes = [0; PASSWORD_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn password_and_port_are_kept_from_run_to_run() {
        let base = tempfile::tempdir().unwrap();
        let first = DataDir::open(base.path(), "server").await.unwrap();
        let (password, port) = (first.password().unwrap(), first.port("amqp").unwrap());
        drop(first);
        let second = DataDir::open(base.path(), "server").await.unwrap();
        assert_eq!((second.password().unwrap(), second.port("amqp").unwrap()), (password, port));
    }

    #[tokio::test]
    async fn only_the_owner_reads_the_password() {
        let base = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(base.path(), "server").await.unwrap();
        data_dir.password().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data_dir.dir().join("password")), 0o600);
        assert_eq!(mode(data_dir.dir()), 0o700);
    }
}
