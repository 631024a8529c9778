//! The operator's side of the store against a real server: dead letters, emails, where they go, members recomputed
//! or held by others, and commands that wait.

mod contact;
mod crash_suspects;
mod dead_letters;
mod emails;
mod locked_members;
mod migrate;
#[path = "../verify/money.rs"]
#[expect(dead_code, reason = "its damages are for verify")]
mod money;
mod parked;
mod rebuild;
mod replays;
mod workers;
mod world;
