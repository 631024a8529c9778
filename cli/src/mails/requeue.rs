//! `loyalty mails retry` and `resend-unknown`: mails that did not go, or may not have gone, to be sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use loyalty_store::email::{EmailId, EmailState};
use loyalty_store::mails::{self, Requeue, Requeued};
use loyalty_store::pool::Use;
use loyalty_store::{Pool, StoreError};
use serde::Serialize;
use uuid::Uuid;

use super::filter::{FilterArgs, email_id};
use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::{ExitStatus, Usage};
use crate::output::many;

/// The most mails of one command, all of them in one transaction.
const MAILS_MAX: u32 = 10_000;

/// Queue mails anew that were not sent
///
/// Those that are dead, or wait for their next attempt; each begins the retry ladder anew. The dead letters of these
/// mails are settled with them. The outbox takes them to the mailers within seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty mails retry --state dead --since 12h --note 'the mail server is back'")]
pub(super) struct Retry {
    #[command(flatten)]
    selection: Selection,
}

/// Send mails again of which nobody knows whether they went
///
/// They were given to the mail server, and its answer was lost. Some may have arrived: their members get them twice,
/// under the same Message-ID, by which many mail programs show them once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty mails resend-unknown --all --note 'the mail server had lost its queue'")]
pub(super) struct ResendUnknown {
    #[command(flatten)]
    selection: Selection,
}

/// Which mails, and leave to do it.
#[derive(Debug, clap::Args)]
struct Selection {
    /// The ids of the mails
    #[arg(value_name = "ID", value_parser = email_id)]
    ids: Vec<EmailId>,
    /// All that it can be done to
    #[arg(long)]
    all: bool,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N", default_value_t = MAILS_MAX)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAILS_MAX)))]
    limit: u32,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Retry {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        // A queued mail needs it only when its queue was lost: then it is named, or its state is.
        self.selection.run(Requeue::Retry, &[EmailState::Dead, EmailState::Retrying], context).await
    }
}

impl ResendUnknown {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        self.selection.run(Requeue::ResendUnknown, &[EmailState::Unknown], context).await
    }
}

/// What was done.
#[derive(Serialize)]
struct Told {
    queued: Vec<Uuid>,
    /// Left as they are, because of where they stand.
    left: Vec<Left>,
    /// There are no such mails.
    missing: Vec<Uuid>,
}

#[derive(Serialize)]
struct Left {
    email_id: Uuid,
    state: EmailState,
}

impl Selection {
    async fn run(self, what: Requeue, usual: &[EmailState], context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(Use::Queries, 1).await?;
        let ids = self.find(&pool, usual).await?;
        let states = mails::states(&pool, &ids).await?;
        let mut counts: BTreeMap<EmailState, usize> = BTreeMap::new();
        for state in states.values().filter(|state| what.fits(**state)) {
            *counts.entry(*state).or_default() += 1;
        }
        let mut requeued = Requeued::default();
        if counts.is_empty() {
            requeued.missing = ids.iter().copied().filter(|id| !states.contains_key(id)).collect();
            requeued.left = ids.iter().filter_map(|id| Some((*id, *states.get(id)?))).collect();
        } else {
            let Some(permission) = self.confirmation.ask(&plan(&counts, what))? else {
                return Ok(ExitStatus::Failure);
            };
            requeued = mails::requeue(&pool, &ids, &states, what, &permission).await?;
        }
        let told = Told::from(requeued);
        context.output.answer(&told, text)?;
        Ok((!told.queued.is_empty() && told.missing.is_empty()).into())
    }

    async fn find(&self, pool: &Pool, usual: &[EmailState]) -> anyhow::Result<Vec<EmailId>> {
        match (self.ids.is_empty(), self.all || !self.filter.is_empty()) {
            (false, true) => Err(Usage("give the ids of mails, or a filter, not both".to_owned()).into()),
            (true, false) => {
                let text = "which mails? Give their ids, a filter such as --since 12h, or --all";
                Err(Usage(text.to_owned()).into())
            }
            (false, false) => Ok(self.by_id()),
            (true, true) => Ok(self.by_filter(pool, usual).await?),
        }
    }

    fn by_id(&self) -> Vec<EmailId> {
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    async fn by_filter(&self, pool: &Pool, usual: &[EmailState]) -> Result<Vec<EmailId>, StoreError> {
        mails::matching(pool, &self.filter.mails(usual), self.limit).await
    }
}

impl From<Requeued> for Told {
    fn from(requeued: Requeued) -> Self {
        let uuids = |ids: Vec<EmailId>| ids.into_iter().map(EmailId::uuid).collect();
        let left = requeued.left.into_iter().map(|(id, state)| Left { email_id: id.uuid(), state });
        Self { queued: uuids(requeued.queued), left: left.collect(), missing: uuids(requeued.missing) }
    }
}

fn plan(counts: &BTreeMap<EmailState, usize>, what: Requeue) -> String {
    let all: usize = counts.values().sum();
    let parts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let twice = match what {
        Requeue::Retry => "",
        Requeue::ResendUnknown => "\nthose that had arrived arrive twice",
    };
    format!("{} to be queued: {}{twice}", many(all, "mail"), parts.join(", "))
}

fn text(told: &Told) -> String {
    if told.queued.is_empty() && told.left.is_empty() && told.missing.is_empty() {
        return "No mails match".to_owned();
    }
    let mut text = format!("{} queued\n", many(told.queued.len(), "mail"));
    for Left { email_id, state } in &told.left {
        let _ = writeln!(text, "{email_id}: it is {state}, and left as it is");
    }
    for id in &told.missing {
        let _ = writeln!(text, "{id}: there is no such mail");
    }
    text
}
