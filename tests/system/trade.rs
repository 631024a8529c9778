//! What the trade of the fault tests is: it must meet every type of command, or they prove nothing of those it does
//! not.

use loyalty_common::EntryType;
use loyalty_tests::{SecondOpinion, traffic};

/// Refusals that a trade must meet too: about what is not there, is there no more, or was used before.
const REFUSED: [&str; 11] = [
    "earn exited",
    "earn terminated",
    "enroll already_member",
    "adjust insufficient_points",
    "reverse no_such_target",
    "reverse not_reversible",
    "reverse more_than_left",
    "capture no_such_target",
    "capture hold_closed",
    "release hold_closed",
    "redeem no_such_reward",
];

/// 2,000 commands of 100 members: as few as any test has whose points expire.
#[test]
fn a_trade_has_every_type_of_command_and_what_happens_by_itself() {
    let mut opinion = SecondOpinion::new(true);
    let commands: Vec<_> = traffic(100).take(2_000).collect();
    opinion.hear(&commands);
    let applied = EntryType::all().map(|entry_type| format!("{entry_type} applied"));
    let expected = applied.chain(REFUSED.map(str::to_owned));
    let outcomes = opinion.outcomes();
    assert_eq!(expected.filter(|it| !outcomes.contains(it)).collect::<Vec<_>>(), [""; 0], "of {outcomes:#?}");
    let ids: std::collections::BTreeSet<_> = commands.iter().map(|command| command.command_id).collect();
    assert!(ids.len() < commands.len(), "some are said twice");
}
