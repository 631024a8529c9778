//! Whom a bridge may serve where it listens: beyond this machine nobody without a token, unless somebody says so.

use std::net::SocketAddr;

use loyalty_bridge::AuthMode;
use loyalty_common::error_chain::chain;
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_store::{Pool, StoreError, token};
use tracing::warn;

use crate::exit::Usage;

/// The flag that opens a door.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct AuthFlags {
    /// Listen beyond this machine without tokens: anyone who can reach it may publish and read
    #[arg(long, env = "LOYALTY_OPEN", value_parser = clap::builder::FalseyValueParser::new())]
    open: bool,
}

impl AuthFlags {
    /// Whether the address is for this machine only, or somebody said that it does not matter.
    pub(crate) fn allows(self, address: SocketAddr) -> bool {
        self.open || address.ip().to_canonical().is_loopback()
    }

    /// Whom a bridge serves there. An error, if that would be anyone at all.
    pub(crate) async fn admission(self, address: SocketAddr, database: &DatabaseUrl) -> anyhow::Result<AuthMode> {
        if self.allows(address) {
            return Ok(AuthMode::UntilTokens);
        }
        let pool = Pool::new(database, PlannerProfile::Queries, 1)?;
        match token::any(&pool).await {
            Ok(true) => Ok(AuthMode::Tokens),
            Ok(false) => Err(Usage(format!(
                "{address} can be reached from other machines, and there are no tokens yet.\n\
                 Make one with `loyalty token create --scope publish,read`, or listen on 127.0.0.1,\n\
                 or give --open to serve whoever reaches it"
            ))
            .into()),
            Err(error @ (StoreError::Connect(_) | StoreError::Untrusted(_))) => {
                warn!(error = chain(&error), "Cannot read the tokens yet; requests are refused until then");
                Ok(AuthMode::Tokens)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_served_without_being_asked() {
        let check = |address: &str, expected: [bool; 2]| {
            let allowed = [false, true].map(|open| AuthFlags { open }.allows(address.parse().expect("an address")));
            assert_eq!(allowed, expected, "{address}");
        };
        for own in ["127.0.0.1:5000", "127.8.8.8:5000", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
            check(own, [true, true]);
        }
        for others in ["0.0.0.0:5000", "[::]:5000", "192.168.1.7:5000", "[::ffff:10.0.0.1]:5000"] {
            check(others, [false, true]);
        }
    }
}
