//! `loyalty import`: a file of purchases or commands, published once however often it is imported.
//!
//! Read in this order: `rows` says what a row is, `reader` makes commands of rows, `row_ids` gives them ids that stay,
//! `sending` publishes what is new, `follow` waits for the fates, `summary` says what was counted.

mod amount;
mod csv_rows;
mod follow;
mod jsonl_rows;
mod mapping;
mod moment;
mod problems;
mod reader;
mod row_ids;
mod rows;
mod sending;
mod summary;
mod template;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use loyalty_producer::{Limits, Producer};
use loyalty_store::pool::Use;
use loyalty_store::{Pool, StoreError, standings};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::exit::{Answer, Usage};
use crate::service::stop_on_signal;
use csv_rows::CsvRows;
use follow::{CHUNKS_WAITING_MAX, Fates, Follower};
use jsonl_rows::JsonlRows;
use mapping::Mapping;
use problems::Problems;
use reader::{Chunk, Reader};
use rows::Rows;
use sending::{Asked, Sender, Sent};
use summary::{LEGEND, Summary};
use template::{Place, Template};

/// Publish a file of purchases or commands
///
/// A CSV file with a header line becomes one `earn` a row: say which columns hold the member and the amount, and how
/// many points a unit is worth. A JSON Lines file holds one command of the contract a line; `v` and `command_id` may
/// be left out.
///
/// Importing the same file again changes nothing, and an import that was stopped goes on where it was: a row's id is
/// made from the import's name (--name), the row's own content and how many equal rows came before it. So two equal
/// purchases stay two, and a file that grew by new rows adds just these. A row that was edited is a new row, unless
/// --id names a column that tells which one it is. Files of the same name are the same import: give --name where a
/// file without dates comes anew each day.
///
/// Rows that cannot be used are told with their lines and stop nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{LEGEND}"))]
pub(crate) struct Import {
    /// The file: .csv, or .jsonl (also .ndjson)
    file: PathBuf,
    /// Enrol each member at first sight, at the time of that row; who is a member or has left is left alone
    #[arg(long)]
    enroll: bool,
    /// The address to enrol members with, with {member} and {COLUMN} filled in: '{member}@example.com', '{email}'
    #[arg(long, value_name = "TEMPLATE", requires = "enroll")]
    email: Option<String>,
    /// What the ids are made from besides the rows; by default the file's name
    #[arg(long)]
    name: Option<String>,
    /// Wait until every command has a fate: applied, refused, parked or dead
    #[arg(long)]
    wait: bool,
    /// Read and check everything, publish nothing; needs no servers
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Also write the rows that cannot be used to this file, as CSV with line and problem
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    // Last, since its heading is that of all flags after it.
    #[command(flatten)]
    mapping: Mapping,
}

const EXAMPLE: &str = "\
Example, ten points a dollar:
  loyalty import examples/cdnow-sample.csv --member customer_id --amount amount --rate 10 --at date \\
      --enroll --email '{member}@example.com' --wait";

impl Import {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Answer> {
        let began = Instant::now();
        // Every wrong usage shows before anything is sent.
        let size = std::fs::metadata(&self.file).map_or(0, |metadata| metadata.len());
        let reader = Reader::new(self.open()?, &self.name()?, self.enroll);
        let problems = Problems::new(self.errors.as_deref())?;
        let stop = stop_on_signal()?;
        let mut run = Run { summary: Summary::default(), problems, bar: progress_bar(size), stop };
        let finished =
            if self.dry_run { run.read_only(reader).await } else { run.publish(reader, context, self.wait).await };
        run.bar.finish_and_clear();
        // What went well is told even when something did not: the next run begins there.
        run.summary.set_time(began.elapsed());
        eprint!("{}", run.problems.finish()?);
        context.output.answer(&run.summary, Summary::text)?;
        if run.stop.is_cancelled() {
            eprintln!("Stopped early. Repeat the same import to go on; nothing is doubled.");
        }
        Ok((finished? && run.summary.dead() == 0).into())
    }

    /// The name that ids are made from.
    fn name(&self) -> anyhow::Result<String> {
        match &self.name {
            Some(name) if name.is_empty() => Err(Usage("--name is empty".to_owned()).into()),
            Some(name) => Ok(name.clone()),
            None => {
                let name = self.file.file_name().and_then(|name| name.to_str());
                let missing = || Usage("the file's name is not UTF-8; give --name".to_owned());
                Ok(name.ok_or_else(missing)?.to_owned())
            }
        }
    }

    fn open(&self) -> anyhow::Result<Rows> {
        let extension = self.file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let is_csv = match extension.to_ascii_lowercase().as_str() {
            "csv" => true,
            "jsonl" | "ndjson" => false,
            _ => return Err(Usage(format!("{}: the name must end in .csv or .jsonl", self.file.display())).into()),
        };
        let file = open_file(&self.file)?;
        if is_csv {
            let find = |names| Ok(self.mapping.columns(names, self.email.as_deref())?);
            return Ok(Rows::Csv(Box::new(CsvRows::open(file, Timestamp::now(), find)?)));
        }
        self.mapping.refuse_any()?;
        let member = |name: &str| (name == "member").then_some(Place::Member);
        let address = self.email.as_deref().map(|text| Template::compile(text, member)).transpose()?;
        Ok(Rows::Jsonl(Box::new(JsonlRows::new(file, address))))
    }
}

fn open_file(path: &Path) -> anyhow::Result<File> {
    let named = |problem: String| Usage(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|error| named(error.to_string()))?;
    // A directory can be opened, and only fails when it is read.
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(named("is a directory".to_owned()).into());
    }
    Ok(file)
}

/// An import under way.
struct Run {
    summary: Summary,
    problems: Problems,
    bar: ProgressBar,
    stop: CancellationToken,
}

impl Run {
    /// Reads and counts. False if it was stopped.
    async fn read_only(&mut self, reader: Reader) -> anyhow::Result<bool> {
        let mut chunks = reader.start();
        while let Some(chunk) = self.next(&mut chunks).await {
            let mut chunk = chunk?;
            self.count(&mut chunk)?;
        }
        Ok(!self.stop.is_cancelled())
    }

    /// Publishes, and waits for the fates if asked to. False if it was stopped.
    async fn publish(&mut self, reader: Reader, context: &Context, wait: bool) -> anyhow::Result<bool> {
        // One connection asks what is known, the other follows what was sent.
        let pool = Pool::new(&context.settings.database()?, Use::Keys, 2)?;
        let amqp = context.settings.amqp()?;
        let since = standings::clock(&pool).await?;
        let producer = Producer::connect(amqp, "import", Limits::default()).await?;
        let following = wait.then(|| Following::start(pool.clone(), since));
        let follower = following.as_ref().map(|following| following.chunks.clone());
        let sender = Sender { pool, producer, follower };

        let mut chunks = reader.start();
        let mut sent = Ok(());
        while let Some(chunk) = self.next(&mut chunks).await {
            sent = self.send(&sender, chunk?).await;
            if sent.is_err() {
                break;
            }
        }
        drop(sender);
        if let Some(following) = following {
            let fates = following.finish(&self.bar, &self.stop).await?;
            self.summary.set_fates(fates);
        }
        sent.map(|()| !self.stop.is_cancelled())
    }

    async fn send(&mut self, sender: &Sender, mut chunk: Chunk) -> anyhow::Result<()> {
        self.count(&mut chunk)?;
        let mut sent = Sent::default();
        let result = sender.send(&mut chunk, &mut sent).await;
        self.summary.add_sent(sent);
        self.problems.add(chunk.remarks)?;
        result.context("the import ended early; repeat it later, nothing doubles")?;
        self.bar.set_message(format!("{} rows, {} published", self.summary.rows(), self.summary.published()));
        Ok(())
    }

    fn count(&mut self, chunk: &mut Chunk) -> anyhow::Result<()> {
        let mut asked = Asked::default();
        chunk.items.iter().for_each(|item| asked.count(item));
        self.summary.add_asked(asked);
        self.summary.add_rows(chunk.rows, chunk.skipped.len() as u64, chunk.repeated);
        self.bar.set_position(chunk.bytes);
        self.problems.add(std::mem::take(&mut chunk.skipped))
    }

    /// The next chunk, unless somebody pressed Ctrl-C.
    async fn next<T>(&self, chunks: &mut mpsc::Receiver<T>) -> Option<T> {
        self.stop.run_until_cancelled(chunks.recv()).await.flatten()
    }
}

/// The task that waits for the fates of what was published.
struct Following {
    chunks: mpsc::Sender<Vec<reader::Item>>,
    fates: watch::Receiver<Fates>,
    task: JoinHandle<Result<(), StoreError>>,
}

impl Following {
    fn start(pool: Pool, since: Timestamp) -> Self {
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (told, fates) = watch::channel(Fates::default());
        Self { chunks, fates, task: tokio::spawn(Follower::new(pool, since, told).run(receiver)) }
    }

    /// Waits for the rest of the fates, or until somebody presses Ctrl-C.
    async fn finish(self, bar: &ProgressBar, stop: &CancellationToken) -> anyhow::Result<Fates> {
        let Self { chunks, mut fates, mut task } = self;
        drop(chunks); // It ends with the last chunk.
        loop {
            tokio::select! {
                ended = &mut task => {
                    ended.expect("following does not panic and is not aborted")?;
                    break;
                }
                Ok(()) = fates.changed() => bar.set_message(format!("{} decided", fates.borrow_and_update().all())),
                () = stop.cancelled() => {
                    task.abort();
                    break;
                }
            }
        }
        let fates = *fates.borrow();
        Ok(fates)
    }
}

/// Shown on a terminal only.
fn progress_bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}").expect("the template is valid");
    ProgressBar::new(bytes).with_style(style)
}
