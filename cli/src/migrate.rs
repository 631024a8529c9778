//! `loyalty migrate`: brings the database's tables up to this release.

use loyalty_store::migrate;
use loyalty_store::pool::PlannerProfile;
use serde::Serialize;

use crate::Context;
use crate::exit::ExitStatus;

/// Create or update the database's tables
///
/// Runs the pending migrations in one transaction, and lists them. Running it again changes nothing. Two at once wait
/// for each other.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty migrate --database-url postgres://loyalty:password@localhost/loyalty")]
pub(crate) struct Migrate {
    /// Only list pending migrations; exit 1 if there are any
    #[arg(long)]
    check: bool,
}

#[derive(Serialize)]
struct Migrations {
    /// What ran before this command, or would run.
    migrations: Vec<&'static str>,
}

impl Migrate {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        if self.check {
            let pending = Migrations { migrations: migrate::pending(&pool).await? };
            let clean = pending.migrations.is_empty();
            context.output.answer(&pending, |it| told(it, "to run"))?;
            return Ok(clean.into());
        }
        let applied = Migrations { migrations: migrate::migrate(&pool).await? };
        context.output.answer(&applied, |it| told(it, "ran"))?;
        Ok(ExitStatus::Success)
    }
}

fn told(migrations: &Migrations, what: &str) -> String {
    match migrations.migrations.as_slice() {
        [] => "The tables are up to date.".to_owned(),
        names => names.iter().map(|name| format!("{what}: {name}")).collect::<Vec<_>>().join("\n"),
    }
}
