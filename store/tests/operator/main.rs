//! The operator's side of the store against a real server: letters, mails, members computed anew, and commands that wait.

mod letters;
mod mails;
mod parked;
mod rebuild;
mod replays;
mod suspects;
mod world;
