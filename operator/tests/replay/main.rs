//! Dry runs, replays and the sweep against a real database and a real broker, with a worker that applies.

mod ahead;
mod foreseen;
mod foreseen_emails;
mod idle;
mod interrupted;
mod mended;
mod swept;
mod world;
