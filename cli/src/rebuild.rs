//! `loyalty rebuild`: members computed anew from their ledgers. Shows each difference, asks, and mends.

mod condition;
mod report;

use std::collections::HashSet;

use loyalty_common::MemberId;
use loyalty_store::permission::Permission;
use loyalty_store::pool::Use;
use loyalty_store::rebuild::{self, Difference, Remedy, Selection};
use loyalty_store::{Pool, StoreError};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::ExitStatus;
use crate::service::stop_on_signal;
use report::Told;

/// Compute members anew from the ledger, and mend what differs
///
/// Balance, lifetime points, membership, status, place in the ledger and grants of each member are computed from the
/// ledger and compared with what is stored. Each difference is shown, and after a yes it is mended, member by member,
/// under the lock that a worker takes, where it is looked at again: workers may go on meanwhile. A grant that is
/// missing is granted, with its mail. One that was not earned is shown and left, since its mail may be out. The ledger
/// itself is never changed.
///
/// --where chooses members by what is stored of them, so a wrong row may hide from it; without it all are looked at.
/// Exit code 1 if --dry-run finds anything, if something is left as it is, or if nobody matches.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty rebuild --dry-run
  loyalty rebuild --where 'points >= 1000 and status = active' --dry-run
  loyalty rebuild --where 'member = ann' --note 'support case 4711'

Conditions: FIELD COMPARISON VALUE, joined by `and`.
  fields       member, status, points, lifetime_points, epoch, enrolled_at
  comparisons  = != < <= > >=; for status = and !=
  values       a word, or anything in single quotes; a time is a day (2026-11-22), a time
               (2026-11-22T10:00:00Z) or how long ago (3d)")]
pub(crate) struct Rebuild {
    /// Which members; all of them without it
    #[arg(long = "where", value_name = "CONDITIONS", value_parser = condition::selection)]
    selection: Option<Selection>,
    /// Only say what differs; changes nothing
    #[arg(long)]
    dry_run: bool,
    /// At most so many members who differ
    #[arg(long, value_name = "N", default_value_t = MEMBERS_MAX)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MEMBERS_MAX)))]
    limit: u32,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// The most members of one command who differ: as many as are held in memory and shown. Where more differ, somebody
/// wants to see the first ones before all.
const MEMBERS_MAX: u32 = 10_000;

/// Members compared in one snapshot. Small enough for a moment, large enough that the way to the server is nothing.
const PAGE_MEMBERS: u32 = 500;

impl Rebuild {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(Use::Keys, 2).await?;
        let reward = context.settings.config()?.programme.reward;
        let selection = self.selection.unwrap_or_default();
        let looked = look(&pool, &selection, self.limit).await?;
        let mendable = looked.mendable();
        if self.dry_run || mendable.is_empty() {
            let is_sound = looked.differences.is_empty() && (looked.examined > 0 || selection.0.is_empty());
            context.output.answer(&Told::found(looked), Told::compared)?;
            return Ok(is_sound.into());
        }
        let Some(permission) = self.confirmation.ask(&Told::found(looked.clone()).plan(mendable.len()))? else {
            return Ok(ExitStatus::Failure);
        };
        let (mended, ended) = mend(&pool, &mendable, &reward, &permission, &stop_on_signal()?).await;
        let told = Told::mended(&looked, mended, mendable.len());
        context.output.answer(&told, Told::done)?;
        ended?;
        Ok(told.is_all_mended().into())
    }
}

/// What a look at members found.
#[derive(Clone, Debug, Default)]
struct Looked {
    examined: usize,
    differences: Vec<Difference>,
    /// Whether there are members who were not looked at any more.
    more: bool,
}

impl Looked {
    /// The members of whom something can be mended.
    fn mendable(&self) -> Vec<MemberId> {
        let mendable = self.differences.iter().filter(|it| it.remedy == Remedy::Mend);
        let mut members: Vec<MemberId> = mendable.map(|it| it.member_id.clone()).collect();
        members.dedup();
        members
    }
}

/// Page after page, until so many differ.
async fn look(pool: &Pool, selection: &Selection, limit: u32) -> Result<Looked, StoreError> {
    let mut looked = Looked::default();
    let (mut after, mut differing) = (None, 0);
    loop {
        let page = rebuild::members(pool, selection, after.as_ref(), PAGE_MEMBERS).await?;
        let Some(last) = page.last() else {
            return Ok(looked);
        };
        after = Some(last.clone());
        looked.examined += page.len();
        for difference in rebuild::differences(pool, &page).await? {
            if looked.differences.last().is_none_or(|last| last.member_id != difference.member_id) {
                differing += 1;
            }
            if differing > limit {
                looked.more = true;
                return Ok(looked);
            }
            looked.differences.push(difference);
        }
    }
}

/// What was made of the members who were to be mended.
#[derive(Debug, Default)]
struct Mended {
    /// As found under their locks: some may have been mended by somebody else meanwhile.
    differences: Vec<Difference>,
    /// Whom the database refused, and why.
    refused: Vec<(MemberId, StoreError)>,
    /// Members that were come to.
    done: HashSet<MemberId>,
}

/// Mends one after the other, until told to stop or the server goes away; what is done by then is done.
async fn mend(
    pool: &Pool,
    members: &[MemberId],
    reward: &str,
    permission: &Permission,
    stop: &CancellationToken,
) -> (Mended, Result<(), StoreError>) {
    let mut mended = Mended::default();
    for member_id in members {
        if stop.is_cancelled() {
            break;
        }
        match rebuild::mend(pool, member_id, reward, permission).await {
            Ok(differences) => mended.differences.extend(differences),
            Err(error) if error.is_content_refused() => mended.refused.push((member_id.clone(), error)),
            Err(error) => return (mended, Err(error)),
        }
        mended.done.insert(member_id.clone());
    }
    (mended, Ok(()))
}
