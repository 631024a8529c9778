//! System tests.

mod bad_input;
mod bounds;
mod broker;
mod database;
mod fates;
mod redelivery;
mod takeover;
mod verify;
