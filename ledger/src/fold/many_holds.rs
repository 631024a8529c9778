//! A checkout may open a hold for each page that somebody looks at, and nothing bounds how many are open.

use jiff::Timestamp;
use loyalty_common::{Command, CommandId};
use uuid::Uuid;

use super::example::{Example, earn, member, noon};
use super::{Submitted, fold, sweep};
use crate::account::{Account, Hold};
use crate::batch::View;
use crate::event_builder::Events;
use crate::programme::Programme;

const HOLDS: i64 = 100_000;

/// Somebody who holds a point for each of so many page views.
fn viewer(example: &Example, until: Timestamp) -> View {
    let mut view = example.tables.view_of_all();
    let row = view.members.get_mut(&member()).expect("ann");
    (row.state.held, row.due_at) = (HOLDS, Some(until));
    let hold = |seq: i64| Hold {
        command_id: CommandId::from(Uuid::from_u128(seq.unsigned_abs().into())),
        seq,
        points: 1,
        expires_at: until,
        lots: Vec::new(),
    };
    view.holds.insert(member(), (1..=HOLDS).map(hold).collect());
    view
}

/// What comes of it is right. That each hold is looked at once is not held by a test: it would need a clock.
#[test]
fn a_command_and_the_sweep_look_at_each_of_many_open_holds_once() {
    let example = Example::of(Programme::default());
    let until = noon("2026-01-20");
    let changes = sweep(viewer(&example, until), noon("2026-02-01"), &example.programme, Events::Off);
    assert_eq!((changes.entries.len(), changes.holds_closed.len()), (100_000, 100_000));
    assert_eq!(changes.members[0].state.balance, HOLDS);

    let command = Command { occurred_at: noon("2026-01-02"), ..Command::new(member(), earn(1)) };
    let submitted = Submitted { command: &command, body: &command.encode(), trace: None };
    let (changes, _) = fold(viewer(&example, until), &[submitted], &example.programme, Events::Off);
    assert_eq!((changes.entries.len(), changes.holds_closed.len(), changes.holds_opened.len()), (1, 0, 0));

    let mut view = viewer(&example, until);
    let account = Account {
        state: view.members[&member()].state,
        lots: Vec::new(),
        holds: view.holds.remove(&member()).expect("holds").into(),
    };
    let account = account.as_at(noon("2026-02-01"), &example.programme);
    assert_eq!((account.state.balance, account.holds.len()), (HOLDS, 0));
}
