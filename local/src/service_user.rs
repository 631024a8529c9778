//! Who a server runs as.
//!
//! `PostgreSQL` refuses to run as root, so under root it gets an account without rights of its own. Everything else
//! runs as we do.

use std::{
    ffi::OsString,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::binaries::{self, MissingBinary};

/// The accounts that may own a database under root, the best first: the package's own, then the one every system has.
const SERVICE_USERS: [&str; 2] = ["postgres", "nobody"];

/// Why no account could be found or be given a directory.
#[derive(Debug, thiserror::Error)]
pub enum ServiceUserError {
    /// Neither of the usual accounts is in `/etc/passwd`.
    #[error("PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to run it")]
    NoServiceUser,
    /// The list of accounts cannot be read.
    #[error("cannot read /etc/passwd")]
    Passwd(#[source] io::Error),
    /// A directory could not be looked at or handed over.
    #[error("cannot give {} to the account {uid}", path.display())]
    Give { path: PathBuf, uid: u32, source: io::Error },
    /// `setpriv` could not be started.
    #[error("cannot try the rights of the account {uid}")]
    Try { uid: u32, source: io::Error },
    /// `setpriv` is not on this machine.
    #[error(transparent)]
    Missing(#[from] MissingBinary),
}

/// The account of a server process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServiceUser {
    /// Our own.
    Own,
    /// One without rights, because we are root.
    Unprivileged { uid: u32, gid: u32 },
}

impl ServiceUser {
    /// The account for a server that refuses to be root and keeps its data in `dir`. Data that somebody else owns
    /// already is served by that account, so that root may run what a user began.
    pub(crate) fn not_root(dir: &Path) -> Result<Self, ServiceUserError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        if let Ok(found) = dir.metadata()
            && found.uid() != 0
        {
            return Ok(Self::Unprivileged { uid: found.uid(), gid: found.gid() });
        }
        let passwd = std::fs::read_to_string("/etc/passwd").map_err(ServiceUserError::Passwd)?;
        SERVICE_USERS.iter().find_map(|name| find(&passwd, name)).ok_or(ServiceUserError::NoServiceUser)
    }

    /// What `setpriv` must be told to become this account.
    pub(crate) fn setpriv_args(&self) -> Vec<OsString> {
        match self {
            Self::Own => Vec::new(),
            Self::Unprivileged { uid, gid } => {
                vec![format!("--reuid={uid}").into(), format!("--regid={gid}").into(), "--clear-groups".into()]
            }
        }
    }

    /// Hands a file or directory over.
    pub(crate) fn give(&self, path: &Path) -> Result<(), ServiceUserError> {
        let Self::Unprivileged { uid, gid } = *self else { return Ok(()) };
        let error = |source| ServiceUserError::Give { path: path.to_path_buf(), uid, source };
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(error)
    }

    /// Whether the account can reach what is inside `dir`. Asked of the kernel rather than worked out from mode
    /// bits, because access lists and mounts have a say too.
    pub(crate) fn can_enter(&self, dir: &Path) -> Result<bool, ServiceUserError> {
        let Self::Unprivileged { uid, .. } = *self else { return Ok(true) };
        let mut command = Command::new(binaries::setpriv()?);
        command.args(self.setpriv_args()).args(["--", "/bin/sh", "-c", "cd \"$1\"", "sh"]).arg(dir);
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().map_err(|source| ServiceUserError::Try { uid, source })?;
        Ok(status.success())
    }
}

/// The account `name` in the text of `/etc/passwd`.
fn find(passwd: &str, name: &str) -> Option<ServiceUser> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(ServiceUser::Unprivileged { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\
                      postgresql:x:5:6::/:/bin/sh\n\
                      postgres:x:101:103:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find(passwd, "postgres"), Some(ServiceUser::Unprivileged { uid: 101, gid: 103 }));
        assert_eq!(find(passwd, "nobody"), None);
    }
}
