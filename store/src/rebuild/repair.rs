//! Writing what the ledger says over what is stored of a member, under the lock that a worker takes.

use deadpool_postgres::Client;
use loyalty_common::MemberId;
use loyalty_ledger::contact::Contact;
use loyalty_ledger::{Changes, Grant, Member, MemberStatus};
use tokio_postgres::types::ToSql;

use super::findings::{self, Findings, Grants};
use super::{Difference, Resolution, history};
use crate::approval::OperatorApproval;
use crate::batch::Batch;
use crate::partition::partition;
use crate::pool::{Pool, StoreError};

/// Repairs one member in one transaction and answers what differed, as it was found under the lock; empty if nothing
/// did any more. `reward` is the programme's: what a missing grant is of. Its email is queued as a worker does it.
pub async fn repair(
    pool: &Pool,
    member_id: &MemberId,
    reward: &str,
    permission: &OperatorApproval,
) -> Result<Vec<Difference>, StoreError> {
    let (batch, member) = Batch::open_for_member(pool, member_id).await?;
    let client = batch.client();
    // Only now, in a statement after the one that waited for the lock: the snapshot of that one may be older than
    // what a worker has committed meanwhile.
    let found = findings::of(client, std::slice::from_ref(member_id)).await?;
    let differences: Vec<Difference> = found.iter().flat_map(Findings::differences).collect();
    let repaired: Vec<&Difference> = differences.iter().filter(|it| it.resolution == Resolution::Repair).collect();
    let mut changes = Changes::default();
    for findings in &found {
        let member = repaired_member(&member, findings);
        if member.state.status != MemberStatus::Active {
            changes.ended.push((member_id.clone(), member.state.epoch));
        }
        for grants in findings.to_grant() {
            changes.grants.extend(missing(client, &member, grants, reward).await?);
        }
        if findings.is_possible() {
            findings.holdings.repair(client, member_id).await?;
            // Also of rewards that are granted only now: they are written before.
            changes.redeemed.extend(findings.holdings.redeemed());
        }
        if repaired.iter().any(|difference| difference.epoch.is_none()) {
            changes.members.push(member);
        }
    }
    if !repaired.is_empty() {
        history::record(client, member_id, &repaired, permission).await?;
    }
    batch.commit(&changes, &[]).await?;
    Ok(differences)
}

fn repaired_member(member: &Member, findings: &Findings) -> Member {
    let computed = &findings.computed;
    // Who is no member is forgotten, also when a wrong row kept them.
    let is_member = computed.state.status == MemberStatus::Active;
    Member {
        state: computed.state,
        last_seq: computed.last_seq,
        contact: if is_member { member.contact.clone() } else { Contact::default() },
        enrolled_at: member.enrolled_at.or(computed.enrolled_at),
        due_at: computed.due_at,
        member_id: member.member_id.clone(),
    }
}

/// The rows of a membership with the milestones that each was the first to reach, less those that were granted.
const MISSING: &str = "
    select reached.number, peak.seq,
           exists (select from email
                   where partition = $4 and member_id = $1 and epoch = $2 and number = reached.number) as is_mailed
    from (
        select seq, lifetime, greatest(max(lifetime) over earlier, 0) as before
        from (
            select seq, sum(lifetime_delta) over (order by seq) as lifetime from ledger
            where partition = $4 and member_id = $1 and epoch = $2) as running
        window earlier as (order by seq rows between unbounded preceding and 1 preceding)) as peak
    cross join lateral generate_series(
        div(before, $3::bigint)::bigint + 1, div(lifetime, $3::bigint)::bigint) as reached (number)
    where not exists (select from reward
                      where partition = $4 and member_id = $1 and epoch = $2 and number = reached.number)
    order by reached.number";

/// A reward whose email is there already, on its way or arrived.
const RESTORE: &str = "
    insert into reward (partition, member_id, epoch, number, seq, points, title, granted_at)
    values ($7, $1, $2, $3, $4, $5, $6, now())";

/// The rewards to be granted with an email. Those that lack only their own row get it here.
async fn missing(client: &Client, member: &Member, grants: &Grants, reward: &str) -> Result<Vec<Grant>, StoreError> {
    let Some(milestone) = grants.milestone else {
        return Ok(Vec::new());
    };
    let (partition, member_id) = (partition(&member.member_id), member.member_id.as_str());
    let mut rewards = Vec::new();
    for row in client.query(MISSING, &[&member_id, &grants.epoch, &milestone, &partition]).await? {
        let (number, seq): (i64, i64) = (row.get("number"), row.get("seq"));
        let points = number * milestone;
        if row.get("is_mailed") {
            let parameters: [&(dyn ToSql + Sync); 7] =
                [&member_id, &grants.epoch, &number, &seq, &points, &reward, &partition];
            client.execute(RESTORE, &parameters).await?;
            continue;
        }
        rewards.push(Grant {
            trace: None,
            member_id: member.member_id.clone(),
            epoch: grants.epoch,
            number,
            seq,
            points,
            title: reward.to_owned(),
            // Emails of an earlier membership go to nobody.
            has_address: member.contact.email.is_there() && grants.epoch == member.state.epoch,
        });
    }
    Ok(rewards)
}
