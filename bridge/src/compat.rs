//! The interface that the users of the sample know: a member at the first place of the path, and an answer once the
//! command is decided, in words that they match on.

mod body;
mod read;
mod request;
mod response;
pub(crate) mod routes;
