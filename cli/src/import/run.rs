//! An import under way: reads, publishes what is new, waits for the outcomes if asked to, and counts.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use loyalty_common::escape::Escaped;
use loyalty_producer::{Limits, Producer};
use loyalty_store::{Pool, StoreError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::problems::Problems;
use super::reader::{Chunk, Item, Reader};
use super::receipt_tracker::{CHUNKS_WAITING_MAX, Outcomes, ReceiptTracker};
use super::sending::{FileTotals, Known, SendCounts, Sender};
use super::summary::Summary;
use crate::Context;
use crate::output;

/// What ended, if the reading did.
const UNREADABLE: &str = "could not read the file any further; repeat the import, nothing doubles";

/// An import under way.
pub(super) struct Run {
    pub(super) summary: Summary,
    problems: Arc<Mutex<Problems>>,
    warnings: Vec<String>,
    bar: ProgressBar,
    pub(super) stop: CancellationToken,
}

impl Run {
    pub(super) fn new(problems: Problems, bytes: u64, stop: CancellationToken) -> Self {
        let (summary, bar) = (Summary::default(), progress_bar(bytes));
        Self { summary, problems: Arc::new(Mutex::new(problems)), warnings: Vec::new(), bar, stop }
    }

    /// Reads and counts, and asks what is known already, if there is a database to ask. False if it was stopped.
    pub(super) async fn read_only(&mut self, reader: Reader, known: Option<Known>) -> anyhow::Result<bool> {
        let mut chunks = reader.start();
        while let Some(chunk) = self.next(&mut chunks).await {
            let mut chunk = chunk.context(UNREADABLE)?;
            self.count(&mut chunk);
            let mut sent = SendCounts::default();
            let items = match &known {
                Some(known) => known.fresh(&mut chunk, &mut sent).await?,
                None => std::mem::take(&mut chunk.items),
            };
            sent.count_types(&items);
            self.summary.add_would_publish(items.len());
            self.summary.add_sent(sent);
            // What was decided before is told as that.
            chunk.foreseen.retain(|problem| items.iter().any(|item| item.line == problem.line && !item.enrols));
            self.told().add_all(chunk.remarks);
            self.told().add_all(chunk.foreseen);
        }
        Ok(!self.stop.is_cancelled())
    }

    /// Publishes, and waits for the outcomes if asked to, which are younger than `since`. False if it was stopped.
    pub(super) async fn publish(
        &mut self,
        reader: Reader,
        context: &Context,
        pool: Pool,
        since: Option<Timestamp>,
    ) -> anyhow::Result<bool> {
        let producer = Producer::connect(context.settings.amqp()?, "import", Limits::default()).await?;
        let following = since.map(|since| Following::start(pool.clone(), since, Arc::clone(&self.problems)));
        let follower = following.as_ref().map(|following| following.chunks.clone());
        let sender = Sender { known: Known(pool), producer, follower };

        let mut chunks = reader.start();
        let mut sent = Ok(());
        while let Some(chunk) = self.next(&mut chunks).await {
            sent = match chunk {
                Ok(chunk) => self.send(&sender, chunk).await,
                Err(error) => Err(error).context(UNREADABLE),
            };
            if sent.is_err() {
                break;
            }
        }
        drop(sender);
        if let Some(following) = following {
            let outcomes = following.finish(&self.bar, &self.stop).await?;
            self.summary.set_outcomes(outcomes);
        }
        sent.map(|()| !self.stop.is_cancelled())
    }

    /// Ends the progress bar and tells what there is to tell of rows. Answers how many of them need a look.
    pub(super) fn finish(&mut self) -> io::Result<u64> {
        self.bar.finish_and_clear();
        let faults = self.told().faults();
        self.summary.set_faults(faults);
        output::note(&self.told().text())?;
        warn_of(&self.warnings)?;
        Ok(faults)
    }

    /// Ends the file of errors.
    pub(super) fn close(&self) -> anyhow::Result<()> {
        self.told().close()
    }

    async fn send(&mut self, sender: &Sender, mut chunk: Chunk) -> anyhow::Result<()> {
        self.count(&mut chunk);
        let mut sent = SendCounts::default();
        let result = sender.send(&mut chunk, &mut sent).await;
        self.summary.add_sent(sent);
        self.told().add_all(chunk.remarks);
        result.context("the import ended early; repeat it later, nothing doubles")?;
        self.bar.set_message(format!("{} rows, {} published", self.summary.rows(), self.summary.published()));
        Ok(())
    }

    fn count(&mut self, chunk: &mut Chunk) {
        let mut asked = FileTotals::default();
        chunk.items.iter().for_each(|item| asked.count(item));
        self.summary.add_asked(asked);
        self.summary.add_rows(chunk);
        self.bar.set_position(chunk.bytes);
        self.warnings.append(&mut chunk.warnings);
        self.told().add_all(std::mem::take(&mut chunk.skipped));
    }

    fn told(&self) -> MutexGuard<'_, Problems> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk, unless somebody pressed Ctrl-C.
    async fn next<T>(&self, chunks: &mut mpsc::Receiver<T>) -> Option<T> {
        self.stop.run_until_cancelled(chunks.recv()).await.flatten()
    }
}

/// The task that waits for the outcomes of what was published.
struct Following {
    chunks: mpsc::Sender<Vec<Item>>,
    outcomes: watch::Receiver<Outcomes>,
    task: JoinHandle<Result<(), StoreError>>,
}

impl Following {
    fn start(pool: Pool, since: Timestamp, problems: Arc<Mutex<Problems>>) -> Self {
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (told, outcomes) = watch::channel(Outcomes::default());
        Self { chunks, outcomes, task: tokio::spawn(ReceiptTracker::new(pool, since, told, problems).run(receiver)) }
    }

    /// Waits for the rest of the outcomes, or until somebody presses Ctrl-C.
    async fn finish(self, bar: &ProgressBar, stop: &CancellationToken) -> anyhow::Result<Outcomes> {
        let Self { chunks, mut outcomes, mut task } = self;
        drop(chunks); // It ends with the last chunk.
        loop {
            tokio::select! {
                ended = &mut task => {
                    ended.expect("following does not panic and is not aborted")?;
                    break;
                }
                Ok(()) = outcomes.changed() => bar.set_message(format!("{} decided", outcomes.borrow_and_update().all())),
                () = stop.cancelled() => {
                    task.abort();
                    break;
                }
            }
        }
        let outcomes = *outcomes.borrow();
        Ok(outcomes)
    }
}

/// What to think of, for who reads standard error.
pub(super) fn warn_of(warnings: &[String]) -> io::Result<()> {
    warnings.iter().try_for_each(|warning| output::note(&format!("warning: {}\n", Escaped(warning))))
}

/// Shown on a terminal only.
fn progress_bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}").expect("the template is valid");
    ProgressBar::new(bytes).with_style(style)
}
