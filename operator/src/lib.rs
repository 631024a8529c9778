//! What an operator can do, as functions: the command line calls them now, web pages later. They take values that were
//! parsed elsewhere and return data that is rendered elsewhere; nothing here reads a flag or writes to a terminal.
//!
//! What changes something comes in two steps: a plan, which only reads, and carrying it out, which takes an
//! [`OperatorApproval`] that only a person's yes makes. [`dry_run`] says what dead letters would come to, [`replay`]
//! sends them; [`dead_letters`], [`emails`] and [`rebuild`] have the operations, [`members`] and [`receipts`] lookups.

pub mod dead_letters;
pub mod dry_run;
pub mod emails;
pub mod members;
mod paging;
pub mod rebuild;
pub mod receipts;
pub mod replay;

pub use loyalty_store::approval::OperatorApproval;
pub use paging::remaining;

/// Whether addresses, names and telephone numbers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonalData {
    /// A mask stands in their place.
    Masked,
    /// As they are: somebody asked for it.
    Revealed,
}
