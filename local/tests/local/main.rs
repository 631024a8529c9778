//! The private servers, the mailbox and the proxy for real, over sockets. One binary: one link.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod mailbox;
mod proxy;
mod servers;
