//! Dry runs, replays, the sweep and a rebuild against a real database and a real broker, with a worker that applies.

mod clock_ahead;
mod dry_run;
mod dry_run_emails;
mod edited;
mod idle;
mod interrupted;
mod maintenance;
mod rebuild;
mod world;
