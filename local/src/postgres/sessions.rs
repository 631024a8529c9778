//! The processes of a server's sessions and background workers, for ending all of them at once.

use rustix::process::{Pid, Signal};

/// The direct children of `server`: each session and each background worker is one.
pub(super) fn of(server: Pid) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", server.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// Ends them without a chance to clean up.
pub(super) fn kill(sessions: &[Pid]) {
    for session in sessions {
        // One that has ended by itself is what we want.
        let _ = rustix::process::kill_process(*session, Signal::KILL);
    }
}

/// Whether none of them exists any more, other than as a name that its parent has not yet collected.
pub(super) fn all_gone(sessions: &[Pid]) -> bool {
    !sessions.iter().any(|session| is_alive(*session))
}

fn is_alive(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    // "number (name) state ...": the name may contain anything, the last bracket ends it.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        assert!(is_alive(rustix::process::getpid()));
    }
}
