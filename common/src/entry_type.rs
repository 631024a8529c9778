//! The type of a row of the ledger: that of the command that it is the receipt of, or of what happened by itself.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::command::CommandType;

string_enum! {
    /// What happens by itself when its time has come, without a command.
    pub enum SystemType {
        /// The day of points is over: what is left of them expires.
        Expire = "expire",
        /// A hold has run out: its points come back.
        Lapse = "lapse",
    }
}

impl SystemType {
    /// The event that tells of it, and what it says. A hold that runs out gives back points as a release does, and its
    /// event has that name.
    const fn event(self) -> (&'static str, &'static str) {
        match self {
            Self::Expire => ("points.expired", "The day of points was over; what was left of them expired."),
            Self::Lapse => {
                let release = CommandType::Release.about();
                (release.event, release.event_doc)
            }
        }
    }
}

/// The type of a row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryType {
    /// A command was decided.
    Command(CommandType),
    /// Something happened by itself.
    System(SystemType),
}

impl EntryType {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let commands = CommandType::ALL.iter().copied().map(Self::Command);
        commands.chain(SystemType::ALL.iter().copied().map(Self::System))
    }

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command(command_type) => command_type.as_str(),
            Self::System(system_type) => system_type.as_str(),
        }
    }

    /// The type of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        CommandType::parse(name).map(Self::Command).or_else(|| SystemType::parse(name).map(Self::System))
    }

    /// The name of the event that tells of it.
    pub const fn event(self) -> &'static str {
        match self {
            Self::Command(command_type) => command_type.about().event,
            Self::System(system_type) => system_type.event().0,
        }
    }

    /// What that event says.
    pub const fn event_doc(self) -> &'static str {
        match self {
            Self::Command(command_type) => command_type.about().event_doc,
            Self::System(system_type) => system_type.event().1,
        }
    }
}

impl From<CommandType> for EntryType {
    fn from(command_type: CommandType) -> Self {
        Self::Command(command_type)
    }
}

impl From<SystemType> for EntryType {
    fn from(system_type: SystemType) -> Self {
        Self::System(system_type)
    }
}

impl fmt::Display for EntryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EntryType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_a_name_of_its_own() {
        for entry_type in EntryType::all() {
            assert_eq!(EntryType::parse(entry_type.as_str()), Some(entry_type));
        }
        assert_eq!(EntryType::parse("nothing"), None);
    }
}
