//! The operator's side of the store against a real server: letters, mails, and commands that wait.

mod letters;
mod mails;
mod parked;
mod replays;
mod suspects;
mod world;
