//! Verbs of an operator: the commands of `loyalty` that look after what failed, run as they are typed.

use serde_json::Value;

use crate::program::Ended;
use crate::world::World;

/// What a command answered.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: i32,
    pub json: Value,
}

impl World {
    /// Runs a command with `--json`. One that ends without an answer fails the test.
    pub async fn operate(&self, args: &[&str]) -> CommandOutput {
        CommandOutput::of(&self.loyalty(&[args, &["--json"]].concat()).await.end().await)
    }

    /// Runs a command that changes something, without being asked, and for a reason.
    pub async fn decide(&self, args: &[&str]) -> CommandOutput {
        self.operate(&[args, &["--yes", "--note", "the morning after"]].concat()).await
    }
}

impl CommandOutput {
    /// What a command that was run with `--json` answered.
    pub fn of(ended: &Ended) -> Self {
        let json = serde_json::from_str(&ended.output);
        let json = json.unwrap_or_else(|error| panic!("{error}\n{}{}", ended.output, ended.log));
        Self { code: ended.code.expect("no signal"), json }
    }

    /// The entries of a list in the answer.
    pub fn list(&self, name: &str) -> &[Value] {
        self.json[name].as_array().unwrap_or_else(|| panic!("no list {name} in {}", self.json))
    }

    /// How many entries a list has.
    pub fn count(&self, name: &str) -> usize {
        self.list(name).len()
    }
}
