//! The rules that live traffic goes by, as far as a dry run needs them.

pub(crate) use loyalty_worker::fold::{Fate, Verdict, fold};
pub(crate) use loyalty_worker::message::{Content, Message, Unusable, enrolling, keys};
pub(crate) use loyalty_worker::{Events, Programme};
