//! Rehearsals, replays and the sweep against a real database and a real broker, with a worker that applies.

mod foreseen;
mod interrupted;
mod mended;
mod swept;
mod world;
