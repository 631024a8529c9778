//! What is published in the bad night: 10,000 good commands of 2,000 members, a message that nobody can use after
//! every twentieth, and one command that kills.

use loyalty_common::{Action, Command, Earn, Enroll, Partition, Points, Spend};
use loyalty_tests::Life;
use loyalty_tests::poison::POISON;
use loyalty_tests::publish::{Raw, command};

/// Members of the shop.
const MEMBERS: usize = 2_000;

/// The member whose command kills.
const DEADLY: usize = 17;

/// Good commands before each message that nobody can use.
const GOOD_BETWEEN: usize = 20;

/// The domain whose mail server takes nobody's emails.
pub(super) const REFUSED_DOMAIN: &str = "example.org";

/// A message that nobody can use, and what it should have been.
pub(super) struct Bad {
    pub(super) kind: Kind,
    pub(super) raw: Raw,
    /// What an operator can make of it.
    pub(super) meant: Command,
}

/// The ten kinds of messages that nobody can use, fifty of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NotUtf8,
    NotJson,
    UnknownField,
    UnknownVersion,
    UnknownType,
    NoPoints,
    Misrouted,
    IdMismatch,
    Conflict,
    Unrouted,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::UnknownField,
        Self::UnknownVersion,
        Self::UnknownType,
        Self::NoPoints,
        Self::Misrouted,
        Self::IdMismatch,
        Self::Conflict,
        Self::Unrouted,
    ];

    /// Why it must be a dead letter.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::NotUtf8 | Self::NotJson => "malformed",
            Self::UnknownField | Self::NoPoints => "invalid_field",
            Self::UnknownVersion => "unknown_version",
            Self::UnknownType => "unknown_type",
            Self::Misrouted => "misrouted",
            Self::IdMismatch => "id_mismatch",
            Self::Conflict => "conflict",
            Self::Unrouted => "unrouted",
        }
    }

    /// A command spoiled in this way.
    fn spoil(self, meant: &Command) -> Raw {
        let good = Raw::of(meant);
        match self {
            Self::NotUtf8 => good.clone().with_body([b"\xff\xfe", good.body()].concat()),
            Self::NotJson => good.clone().with_body(&good.body()[1..]),
            Self::UnknownField => good.with(r#""v":1"#, r#""v":1,"till":"7""#),
            Self::UnknownVersion => good.with(r#""v":1"#, r#""v":2"#),
            Self::UnknownType => good.with(r#""earn""#, r#""earm""#),
            Self::NoPoints => good.with(r#""points":7"#, r#""points":0"#),
            Self::Misrouted => good.with_key(elsewhere(Partition::of(&meant.member_id)).routing_key()),
            Self::IdMismatch => good.with_properties(|it| it.with_message_id("another".into())),
            Self::Conflict => good,
            Self::Unrouted => good.with_key("99"),
        }
    }
}

fn elsewhere(partition: Partition) -> Partition {
    Partition::all().find(|other| *other != partition).expect("there are sixteen")
}

/// Everything of one round, in the order of publishing.
#[derive(Default)]
pub(super) struct Round {
    pub(super) messages: Vec<Raw>,
    pub(super) good: Vec<Command>,
    pub(super) bad: Vec<Bad>,
}

/// Everything, round after round.
pub(super) fn rounds() -> [Round; 5] {
    let mut lives: Vec<Life> = (0..MEMBERS).map(life).collect();
    std::array::from_fn(|number| round(number, &mut lives))
}

/// Who is in a bad message, and who kills, begins to live with points that come in, and so is there in the morning.
fn life(member: usize) -> Life {
    let is_needed = is_in_bad_message(member) || member == DEADLY;
    Life::new(&id(member), if is_needed { 0 } else { member })
}

/// One round of all members: bad messages stand between the good ones.
fn round(number: usize, lives: &mut [Life]) -> Round {
    let mut round = Round::default();
    for (member, life) in lives.iter_mut().enumerate() {
        let lived = life.next().expect("it has no end");
        let good = if gets_emails(&id(member)) { command(&id(member), rewarded(number, member)) } else { lived };
        round.messages.push(Raw::of(&good));
        if is_in_bad_message(member) {
            let kind = Kind::ALL[member / GOOD_BETWEEN % Kind::ALL.len()];
            let bad = bad(kind, &good);
            round.messages.push(bad.raw.clone());
            round.bad.push(bad);
        }
        round.good.push(good);
    }
    round
}

fn id(member: usize) -> String {
    format!("member-{member}")
}

const fn is_in_bad_message(member: usize) -> bool {
    (member + 1).is_multiple_of(GOOD_BETWEEN)
}

/// Every tenth has an address, and earns a reward.
pub(super) fn gets_emails(member: &str) -> bool {
    member.ends_with('0')
}

/// A bad message about the member of the good one before it; a conflict is about that command itself.
fn bad(kind: Kind, before: &Command) -> Bad {
    let mut meant = command(before.member_id.as_str(), Action::Earn(Earn { points: amount(7) }));
    if kind == Kind::Conflict {
        meant.command_id = before.command_id;
    }
    Bad { kind, raw: kind.spoil(&meant), meant }
}

/// What somebody with an address does in a round: a third of them earns a reward in one of three rounds.
fn rewarded(round: usize, member: usize) -> Action {
    let earn = |points| Action::Earn(Earn { points: amount(points) });
    match (round, member % 30) {
        (0, _) => enroll(member),
        (1, 0) | (2, 10) | (3, 20) => earn(1_000),
        (1, _) => earn(100),
        (2, _) => Action::Spend(Spend { points: amount(50) }),
        (3, _) => earn(20),
        _ => Action::Spend(Spend { points: amount(10) }),
    }
}

/// One in five of those who will be rewarded has an address that no mail server takes.
fn enroll(member: usize) -> Action {
    let domain = if (member / 10).is_multiple_of(5) { REFUSED_DOMAIN } else { "example.com" };
    Action::Enroll(Enroll { email: format!("{}@{domain}", id(member)).parse().ok(), name: None })
}

/// The command that kills whoever applies it.
pub(super) fn deadly() -> Command {
    Command { reason: POISON.parse().ok(), ..command(&id(DEADLY), Action::Earn(Earn { points: amount(11) })) }
}

fn amount(points: i64) -> Points {
    loyalty_tests::points(points)
}
