//! Every row of every member decided again by the rules of the programme that decided it: `loyalty verify --deep`.
//!
//! A page of members is read from one snapshot, so that workers may go on meanwhile: a page never meets half a batch,
//! and nothing is asked across pages. Folding is what takes the time, so that each task has a core of its own and the
//! partitions that it takes one after the other.

mod page;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use loyalty_common::MemberId;
use loyalty_ledger::Programme;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Broken, EXAMPLES_MAX, Finding};
use crate::partition::all;
use crate::pool::{Pool, StoreError};
use crate::programme;

const NAME: &str = "deep";
const PROMISE: &str = "each row follows from those before it, and each member from their rows";

/// How many pages may wait to be counted: each task can have one, and need not wait with the next.
const PAGES_WAITING_MAX: usize = 16;

/// Folds every member again, `tasks` pages at once, each on a connection of the pool. `progress` hears how many members
/// are done.
pub async fn refold_members(pool: &Pool, tasks: usize, mut progress: impl FnMut(i64)) -> Result<Finding, StoreError> {
    let programmes = Arc::new(programme::all(&*pool.get().await?).await?);
    let partitions = Arc::new(Mutex::new(all().collect::<VecDeque<i16>>()));
    let (done, mut pages) = mpsc::channel(PAGES_WAITING_MAX);
    // Whose tasks end with it, also when one has failed.
    let mut running = JoinSet::new();
    for _ in 0..tasks.max(1) {
        let (pool, done) = (pool.clone(), done.clone());
        let (partitions, programmes) = (Arc::clone(&partitions), Arc::clone(&programmes));
        running.spawn(async move {
            let next = || partitions.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(partition) = next() {
                if let Err(error) = refold_partition(&pool, partition, &programmes, &done).await {
                    // Nobody listens any more if another task has failed.
                    let _ = done.send(Err(error)).await;
                    return;
                }
            }
        });
    }
    drop(done);
    let mut finding = Finding { name: NAME, promise: PROMISE, examined: 0, broken: 0, examples: Vec::new() };
    while let Some(page) = pages.recv().await {
        let page = page?;
        finding.examined += page.members;
        finding.broken += page.broken;
        finding.examples.extend(page.examples);
        keep_first(&mut finding.examples);
        progress(finding.examined);
    }
    // One that panicked has left members out.
    running.join_all().await;
    Ok(finding)
}

/// Orders them, and keeps as many as are shown.
fn keep_first(examples: &mut Vec<Broken>) {
    examples.sort_by(|one, other| (&one.subject, &one.problem).cmp(&(&other.subject, &other.problem)));
    examples.truncate(usize::try_from(EXAMPLES_MAX).unwrap_or(usize::MAX));
}

/// What is found of a page of members.
#[derive(Default)]
struct Refolded {
    members: i64,
    broken: i64,
    examples: Vec<Broken>,
    /// The last of them.
    last: Option<MemberId>,
}

impl Refolded {
    fn add(&mut self, member_id: MemberId, broken: Vec<Broken>) {
        self.members += 1;
        self.broken += i64::try_from(broken.len()).unwrap_or(i64::MAX);
        self.examples.extend(broken);
        keep_first(&mut self.examples);
        self.last = Some(member_id);
    }
}

async fn refold_partition(
    pool: &Pool,
    partition: i16,
    programmes: &BTreeMap<i16, Programme>,
    done: &mpsc::Sender<Result<Refolded, StoreError>>,
) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let page = page::refold(pool, partition, &after, programmes).await?;
        let Some(last) = &page.last else { return Ok(()) };
        after = last.to_string();
        if done.send(Ok(page)).await.is_err() {
            return Ok(());
        }
    }
}
