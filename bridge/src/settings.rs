//! What a bridge is told.

use loyalty_common::secret::SecretUrl;
use loyalty_store::clock::Clock;
use loyalty_store::pool::DatabaseUrl;

use crate::auth::AuthMode;
use crate::host_guard::Hosts;
use crate::limits::Limits;

/// What a bridge needs to know.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    pub amqp: SecretUrl,
    pub database: DatabaseUrl,
    pub admission: AuthMode,
    /// By which names it may be asked for, beside those of this machine and its own address.
    pub hosts: Hosts,
    /// What it may hold, and how long anything may take.
    pub limits: Limits,
    /// What it takes for the time while the database has not said it.
    pub clock: Clock,
}
