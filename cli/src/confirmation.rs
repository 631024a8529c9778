//! Asking before anything is changed by an operator's command, and who it was.
//!
//! The only place that makes an [`OperatorApproval`]: without an answer of yes, or the flag that says so, nothing that
//! asks for one can be called.

use std::io::{self, BufRead, IsTerminal};
use std::os::unix::fs::MetadataExt;

use loyalty_common::Text;
use loyalty_operator::OperatorApproval;

use crate::exit::Usage;
use crate::output;

/// The flags of every command that changes something by an operator's hand.
#[derive(Debug, clap::Args)]
pub(crate) struct Confirmation {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// The reason, for the history
    #[arg(long, value_name = "TEXT")]
    note: Option<Text>,
    /// The operator's name, for the history; by default the logged-in user
    #[arg(long = "as", value_name = "NAME", env = "LOYALTY_OPERATOR", hide_short_help = true)]
    actor: Option<Text>,
}

impl Confirmation {
    /// Shows what will be done, and asks. None: the answer was no.
    pub(crate) fn ask(self, plan: &str) -> anyhow::Result<Option<OperatorApproval>> {
        output::note(&format!("{}\n", plan.trim_end()))?;
        if !self.yes {
            if !io::stdin().is_terminal() {
                let text = "there is no terminal to ask on: give --yes to go ahead. Nothing was changed";
                return Err(Usage(text.to_owned()).into());
            }
            output::note("Go on? [y/N] ")?;
            let mut answer = String::new();
            io::stdin().lock().read_line(&mut answer)?;
            if !is_yes(&answer) {
                output::note("Nothing was changed\n")?;
                return Ok(None);
            }
        }
        let actor = self.actor.or_else(logged_in).unwrap_or_else(unknown);
        Ok(Some(OperatorApproval::confirmed(actor, self.note)))
    }

    /// Whether a reason was given.
    pub(crate) const fn has_note(&self) -> bool {
        self.note.is_some()
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Behind `sudo`, the person rather than root.
fn logged_in() -> Option<Text> {
    let named = |name| crate::environment::text(name).and_then(|user| user.parse().ok());
    ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(named).or_else(of_this_process)
}

/// Services and containers have no such variables, but still a user.
fn of_this_process() -> Option<Text> {
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_ours = |line: &&str| line.split(':').nth(2) == Some(&uid);
    let name = users.lines().find(is_ours).and_then(|line| line.split(':').next());
    name.map_or_else(|| format!("user {uid}"), str::to_owned).parse().ok()
}

fn unknown() -> Text {
    "unknown".parse().expect("it is short and plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_always_known() {
        assert!(of_this_process().is_some());
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "Y", "yes", " YES \r\n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "no", "yess", "ye", "ja"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
