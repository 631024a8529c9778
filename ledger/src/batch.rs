//! What a batch of commands begins with and what it comes to: the two values that the rules share with the database.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use loyalty_common::{Event, MemberId};

use crate::account::{Hold, Lot};
use crate::command_content::{CommandContent, CommandKey};
use crate::contact::ContactSeed;
use crate::entry::{Entry, Grant, ParkedCommand, Redemption, Warning};
use crate::member::Member;
use crate::target::Target;

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
    /// The lots of members' memberships, the soonest-expiring first: of members who have something due at any time
    /// (`Member::due_at`) and of those who are named with a target all of which anything remains or has expired.
    pub lots: HashMap<MemberId, Vec<Lot>>,
    /// The open holds of the same members, in the order in which they run out.
    pub holds: HashMap<MemberId, Vec<Hold>>,
    /// The rows that commands are about. One that is not here is not in the ledger.
    pub targets: HashMap<CommandKey, Target>,
    /// Of the rewards that commands are about, those that were used: member, membership, number.
    pub redeemed: HashSet<RewardKey>,
}

/// What names a reward: its member, the membership, and its number there.
pub type RewardKey = (MemberId, i32, i64);

/// A command that waits for its member's enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCommand {
    pub key: CommandKey,
    /// As it came. Only read where it is looked at: where a command declared so, and of commands that the batch names.
    /// The others count, and there can be many of them.
    pub body: Option<Vec<u8>>,
}

/// What the rules decided.
#[derive(Debug, Default)]
pub struct Changes {
    /// Members of whom only the balance, the lifetime sum, the last seq, the time and what is due next are
    /// new.
    pub moved: Vec<Member>,
    /// Members of whom anything may be new. None stands in both lists.
    pub members: Vec<Member>,
    /// New rows of the ledger.
    pub entries: Vec<Entry>,
    /// Rewards earned, each with its email.
    pub grants: Vec<Grant>,
    /// Lots that have changed, as they are now. The day and the first credit of one that is there already stay.
    pub lots: Vec<LotRow>,
    /// Holds that are open now and were not.
    pub holds_opened: Vec<HoldRow>,
    /// Holds that are open no longer.
    pub holds_closed: Vec<CommandKey>,
    /// Rewards that were used.
    pub redeemed: Vec<Redemption>,
    /// Memberships that have ended: their emails that are not sent yet go to nobody.
    pub ended: Vec<(MemberId, i32)>,
    /// Days of points that members are told of, each with its email, unless they were told of it before.
    pub warnings: Vec<Warning>,
    /// Commands that wait for an enrolment from now on.
    pub parked: Vec<ParkedCommand>,
    /// Commands that waited and do no longer.
    pub released: Vec<CommandKey>,
    /// What listeners are told, if events are switched on; those of a member in the order in which they happened.
    pub events: Vec<Event>,
}

/// A lot of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LotRow {
    pub member_id: MemberId,
    pub epoch: i32,
    pub lot: Lot,
}

/// An open hold of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRow {
    pub member_id: MemberId,
    pub epoch: i32,
    pub hold: Hold,
}
