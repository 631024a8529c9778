//! What a batch of commands begins with and what it comes to: the two values that the rules share with the database.

use std::collections::HashMap;

use jiff::Timestamp;
use loyalty_common::{Event, MemberId};

use crate::command_content::{CommandContent, CommandKey};
use crate::contact::ContactSeed;
use crate::entry::{Entry, Grant, ParkedCommand};
use crate::member::Member;

/// What the database knows of a batch's members and commands, frozen by the locks.
#[derive(Debug)]
pub struct View {
    /// The database's clock.
    pub now: Timestamp,
    /// What new keys of contacts are made of.
    pub seed: ContactSeed,
    /// Every member of the batch; somebody unknown has a fresh row. One whose row another session holds may be left
    /// out, and then nothing may be decided about them.
    pub members: HashMap<MemberId, Member>,
    /// The commands of the batch that are in the ledger already.
    pub known: HashMap<CommandKey, CommandContent>,
    /// What waits for the members that are not enrolled, in the order of its arrival.
    pub parked: HashMap<MemberId, Vec<WaitingCommand>>,
}

/// A command that waits for its member's enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCommand {
    /// Which command.
    pub key: CommandKey,
    /// As it came. Only read where it is looked at: where a command declared so, and of commands that the batch names.
    /// The others count, and there can be many of them.
    pub body: Option<Vec<u8>>,
}

/// What the rules decided.
#[derive(Debug, Default)]
pub struct Changes {
    /// Members of whom only the points and the last seq are new.
    pub moved: Vec<Member>,
    /// Members of whom anything may be new. None stands in both lists.
    pub members: Vec<Member>,
    /// New rows of the ledger.
    pub entries: Vec<Entry>,
    /// Rewards earned, each with its mail.
    pub grants: Vec<Grant>,
    /// Memberships that have ended: their mails that are not sent yet go to nobody.
    pub ended: Vec<(MemberId, i32)>,
    /// Commands that wait for an enrolment from now on.
    pub parked: Vec<ParkedCommand>,
    /// Commands that waited and do no longer.
    pub released: Vec<CommandKey>,
    /// What listeners are told, if events are switched on; those of a member in the order in which they happened.
    pub events: Vec<Event>,
}
