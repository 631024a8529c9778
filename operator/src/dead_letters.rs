//! Dead letters, for an operator to look at, replay, edit or discard.

pub mod body;
pub mod masking;
