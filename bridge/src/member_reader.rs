//! Reads members and ledgers, each read within its time. Nothing is published here.

use std::time::Duration;

use loyalty_common::{MemberId, Receipt};
use loyalty_store::read::{self, CurrentMember, Filter, Member, MembershipReward};
use loyalty_store::{Pool, StoreError};
use tokio::time::timeout;
use tracing::debug;

use crate::limits::Limits;
use crate::problem::Problem;

/// Reads from the database for all requests.
#[derive(Debug)]
pub(crate) struct MemberReader {
    pool: Pool,
    read_timeout: Duration,
    /// For searches among the members, which take longer.
    searches: Pool,
    search_timeout: Duration,
}

impl MemberReader {
    pub(crate) const fn new(pool: Pool, searches: Pool, limits: &Limits) -> Self {
        Self { pool, read_timeout: limits.read_timeout, searches, search_timeout: limits.search_timeout }
    }

    /// The member of that id as of now, past members included; a problem, if there is none.
    pub(crate) async fn member(&self, member_id: &MemberId) -> Result<CurrentMember, Problem> {
        let member = within(self.read_timeout, read::member(&self.pool, member_id)).await?;
        member.ok_or_else(Problem::no_such_member)
    }

    /// A page of members in the order of their ids, beginning after `after`.
    pub(crate) async fn members(
        &self,
        filter: &Filter,
        after: Option<&MemberId>,
        limit: u32,
    ) -> Result<Vec<Member>, Problem> {
        within(self.search_timeout, read::members(&self.searches, filter, after, limit)).await
    }

    /// A page of a ledger, oldest first, beginning after the row of that seq.
    pub(crate) async fn ledger(
        &self,
        member_id: &MemberId,
        after_seq: i64,
        limit: u32,
    ) -> Result<Vec<Receipt>, Problem> {
        within(self.read_timeout, read::ledger(&self.pool, member_id, after_seq, limit)).await
    }

    /// A page of the rewards of the last membership, beginning after that number.
    pub(crate) async fn rewards(
        &self,
        member_id: &MemberId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<MembershipReward>, Problem> {
        within(self.read_timeout, read::membership_rewards(&self.pool, member_id, after, limit)).await
    }
}

async fn within<T>(time: Duration, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
    match timeout(time, reading).await {
        Ok(read) => read.map_err(|error| {
            debug!(%error, "Could not read");
            Problem::database_away()
        }),
        Err(_) => Err(Problem::database_away()),
    }
}
