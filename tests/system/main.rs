//! System tests.

mod bad_input;
mod bounds;
mod bridge;
mod broker;
mod database;
mod dev;
mod fates;
mod import;
mod redelivery;
mod rewards;
mod takeover;
mod verify;
