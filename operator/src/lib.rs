//! What an operator can do, as functions: the command line calls them now, web pages later. They take values that were
//! parsed elsewhere and return data that is rendered elsewhere.
//!
//! [`dry_run`] says what dead letters would come to, [`replay`] sends them; both ask `replay_message` what there is to
//! send.

pub mod dead_letters;
pub mod dry_run;
pub mod paging;
pub mod replay;
