//! What commands must see beyond their member's row: declared by each command's file, gathered here for a batch, and read
//! by the store under the members' locks.

use std::collections::{BTreeMap, BTreeSet};

use loyalty_common::{Command, CommandId, MemberId, Partition};

use crate::command::reads;

/// What one command must see besides its member's row. All of it is read in the flights that a batch makes anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The bodies of what waits for the member's enrolment.
    pub parked: bool,
}

impl Reads {
    /// The member's row is enough.
    pub const NONE: Self = Self { parked: false };
}

/// What a batch needs of the database, by partition: the locks are taken in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchRequest<'a> {
    /// Partitions of which nothing is needed are left out.
    pub partitions: BTreeMap<Partition, PartitionRequest<'a>>,
}

/// What a batch needs of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionRequest<'a> {
    /// The members to lock.
    pub members: BTreeSet<&'a str>,
    /// The members of the commands to look up in the ledger.
    pub key_members: Vec<&'a str>,
    /// Their ids, each at the place of its member.
    pub key_commands: Vec<CommandId>,
    /// The members of whom the bodies of what waits are read.
    pub parked_of: Vec<&'a str>,
}

impl<'a> BatchRequest<'a> {
    /// What these commands need.
    pub fn of(commands: impl IntoIterator<Item = &'a Command>) -> Self {
        let mut request = Self::default();
        for command in commands {
            request.add(&command.member_id, command.command_id, reads(command));
        }
        request
    }

    /// One member, locked, and nothing else.
    pub fn of_member(member_id: &'a MemberId) -> Self {
        let members = BTreeSet::from([member_id.as_str()]);
        let of_partition = PartitionRequest { members, ..PartitionRequest::default() };
        Self { partitions: BTreeMap::from([(Partition::of(member_id), of_partition)]) }
    }

    fn add(&mut self, member_id: &'a MemberId, command_id: CommandId, reads: Reads) {
        let of_partition = self.partitions.entry(Partition::of(member_id)).or_default();
        of_partition.members.insert(member_id.as_str());
        of_partition.key_members.push(member_id.as_str());
        of_partition.key_commands.push(command_id);
        if reads.parked {
            of_partition.parked_of.push(member_id.as_str());
        }
    }
}
