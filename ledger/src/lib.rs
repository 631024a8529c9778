//! The rules of the programme, pure: no clock, no randomness, no SQL, no AMQP, nothing that waits.
//!
//! Read in this order: [`member`] is what is known of a member, [`command`] what each command reads and decides,
//! [`entry`] what is written of it; [`fold`](fold::fold) takes a batch of commands on top of a [`View`] to the
//! [`Changes`] of one transaction and a verdict on each. The same input always gives the same output.

#![allow(missing_docs, reason = "only where a name does not say it all")]

pub mod batch;
pub mod command;
pub mod command_content;
pub mod contact;
pub mod entry;
pub mod event_builder;
pub mod fold;
pub mod member;
pub mod programme;
pub mod reads;

pub use batch::{Changes, View, WaitingCommand};
pub use command::{Applied, Decision, decide, reads};
pub use command_content::{CommandContent, CommandKey};
pub use entry::{Effects, Entry, Grant, ParkedCommand};
pub use event_builder::Events;
pub use fold::{CommandOutcome, Submitted, Verdict, fold};
pub use member::{Member, MemberState, MemberStatus};
pub use programme::Programme;
pub use reads::{BatchRequest, PartitionRequest, Reads};
