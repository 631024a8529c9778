//! The rules of the programme, pure: no clock, no randomness, no SQL, no AMQP, nothing that waits.
//!
//! Read in this order: [`member`] and [`account`] are what is known of a member, [`command`] what each command reads
//! and decides, [`due`] what happens by itself, [`effects`] and [`entry`] what is written of it; [`fold`](fold::fold)
//! takes a batch of commands on top of a [`View`] to the [`Changes`] of one transaction and a verdict on each,
//! [`warning`] says which members are to be told of points that expire soon, and [`refold`](refold::refold) whether
//! rows follow from those before them. The same input always gives the same output.

#![allow(missing_docs, reason = "only where a name does not say it all")]

pub mod account;
pub mod balance_sheet;
pub mod batch;
pub mod batch_request;
pub mod command;
pub mod command_content;
pub mod contact;
pub mod due;
pub mod effects;
pub mod entry;
pub mod event_builder;
pub mod expiry;
pub mod fold;
pub mod member;
pub mod programme;
pub mod refold;
pub mod target;
pub mod warning;

pub use account::{Account, Hold, Lot};
pub use balance_sheet::Sheet;
pub use batch::{Changes, HoldRow, LotRow, RewardKey, View, WaitingCommand};
pub use batch_request::{BatchRequest, PartitionRequest, targets_of_parked};
pub use command::{Applied, Context, Decision, Reads, decide, is_ahead, reads};
pub use command_content::{CommandContent, CommandKey};
pub use due::{Due, next_due};
pub use effects::{Effects, LotChange};
pub use entry::{Entry, Grant, ParkedCommand, Redemption, Warning};
pub use event_builder::Events;
pub use expiry::{Expiry, LotDay, RoundUp, Validity, Zone};
pub use fold::{CommandOutcome, Submitted, Verdict, fold, sweep};
pub use member::{Member, MemberState, MemberStatus};
pub use programme::{Programme, Reversal, WhenShort};
pub use refold::{Difference, Refold, Refolded, refold};
pub use target::{Target, TargetKind};
pub use warning::warnings;
