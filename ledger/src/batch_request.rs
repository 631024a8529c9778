//! What a batch reads from the database under its members' locks: what each command declares, gathered by partition.

use std::collections::BTreeMap;

use loyalty_common::decode::decode;
use loyalty_common::{Command, CommandId, MemberId, Partition};

use crate::batch::WaitingCommand;
use crate::command::{Reads, reads};
use crate::command_content::CommandKey;

/// What a batch needs of the database, by partition: the locks are taken in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchRequest<'a> {
    /// Partitions of which nothing is needed are left out.
    pub partitions: BTreeMap<Partition, PartitionRequest<'a>>,
}

/// What a batch needs of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionRequest<'a> {
    /// The members to lock, each once, in the order of their ids.
    pub members: Vec<&'a str>,
    /// The members of the commands to look up in the ledger.
    pub key_members: Vec<&'a str>,
    /// Their ids, each at the place of its member.
    pub key_commands: Vec<CommandId>,
    /// The members of whom the bodies of what waits are read.
    pub parked_of: Vec<&'a str>,
    /// The members of the rows that commands are about.
    pub target_members: Vec<&'a str>,
    /// The ids of those rows, each at the place of its member.
    pub target_commands: Vec<CommandId>,
    /// The members of the rewards that commands are about.
    pub reward_members: Vec<&'a str>,
    /// The numbers of those rewards, each at the place of its member.
    pub reward_numbers: Vec<i64>,
}

impl<'a> BatchRequest<'a> {
    /// What these commands need.
    pub fn of(commands: impl IntoIterator<Item = &'a Command>) -> Self {
        let mut request = Self::default();
        for command in commands {
            let of_partition = request.partitions.entry(Partition::of(&command.member_id)).or_default();
            of_partition.add(command, reads(&command.action));
        }
        request.sorted()
    }

    /// These members, without a command.
    pub fn of_members(members: &'a [MemberId]) -> Self {
        let mut request = Self::default();
        for member in members {
            request.partitions.entry(Partition::of(member)).or_default().members.push(member.as_str());
        }
        request.sorted()
    }

    fn sorted(mut self) -> Self {
        for of_partition in self.partitions.values_mut() {
            of_partition.members.sort_unstable();
            of_partition.members.dedup();
        }
        self
    }
}

impl<'a> PartitionRequest<'a> {
    fn add(&mut self, command: &'a Command, reads: Reads) {
        let member = command.member_id.as_str();
        self.members.push(member);
        self.key_members.push(member);
        self.key_commands.push(command.command_id);
        if reads.parked {
            self.parked_of.push(member);
        }
        if let Some(target) = reads.target {
            self.target_members.push(member);
            self.target_commands.push(target);
        }
        if let Some(number) = reads.reward {
            self.reward_members.push(member);
            self.reward_numbers.push(number);
        }
    }
}

/// The rows that commands are about which an enrolment would apply: known only once their bodies are read. Rewards of
/// the membership that begins are none that anybody has used before.
pub fn targets_of_parked<'a>(waiting: impl IntoIterator<Item = &'a WaitingCommand>) -> Vec<CommandKey> {
    let target = |waiting: &WaitingCommand| {
        let command = decode(waiting.body.as_deref()?).ok()?;
        Some((command.member_id.clone(), reads(&command.action).target?))
    };
    waiting.into_iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use loyalty_common::{Action, Earn, Enroll, Points};

    use super::*;

    #[test]
    fn a_batch_asks_for_each_member_once_and_for_what_its_commands_declare_by_partition() {
        let member = |id: &str| -> MemberId { id.parse().expect("a member id") };
        let earn =
            |id: &str| Command::new(member(id), Action::Earn(Earn { points: Points::try_new(1).expect("points") }));
        let enroll = Command::new(member("123"), Action::Enroll(Enroll { email: None, name: None }));
        let commands = [earn("123"), earn("00004"), enroll, earn("123")];
        let request = BatchRequest::of(&commands);
        let of = |id: &str| &request.partitions[&Partition::of(&member(id))];
        assert_ne!(Partition::of(&member("123")), Partition::of(&member("00004")), "two partitions");
        assert_eq!(request.partitions.len(), 2);
        assert_eq!((&of("123").members[..], &of("123").parked_of[..]), (&["123"][..], &["123"][..]));
        assert_eq!((of("123").key_members.len(), of("123").key_commands.len()), (3, 3));
        assert_eq!((&of("00004").members[..], of("00004").parked_of.len()), (&["00004"][..], 0));
    }
}
