//! Our own interface, below `/v1`: commands as the contract spells them, one or many, and reads page by page.
//!
//! `command` and `batch` publish, through the same parts as the sample's routes; `members` reads. What is said of a
//! command is [`said`], alone or as a line of a batch.

mod batch;
mod command;
mod lines;
mod members;
mod order;
mod page;
mod prefer;
mod query;
mod said;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::App;
use crate::limits::Limits;

/// The routes below `/v1`.
pub(crate) fn router(limits: &Limits) -> Router<Arc<App>> {
    Router::new()
        .route("/v1/commands", post(command::publish))
        .route("/v1/commands/batch", post(batch::publish).layer(DefaultBodyLimit::max(limits.batch_bytes)))
        .route("/v1/members", get(members::list))
        .route("/v1/members/{member_id}", get(members::show))
        .route("/v1/members/{member_id}/ledger", get(members::ledger))
        .route("/v1/members/{member_id}/commands/{command_id}", get(members::receipt))
}
