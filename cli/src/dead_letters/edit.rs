//! `loyalty dead-letters edit`: another body for a dead letter, written in an editor or taken from a file. The original
//! stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use loyalty_common::command::BODY_MAX_BYTES;
use loyalty_operator::PersonalData;
use loyalty_operator::dead_letters::{EditProblem, EditReport, check, edit, pretty, readable};
use loyalty_store::dead_letters::{self, DeadLetterId, EditedBody, Opened};
use loyalty_store::pool::PlannerProfile;
use uuid::Uuid;

use super::plan::words;
use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::{ExitStatus, Usage};
use crate::output;

/// Write another body for a dead letter, to be sent by `replay`
///
/// Opens the body in $VISUAL or $EDITOR, or takes it from a file. It must be a command of the contract: a body that is
/// still broken is refused, and what you wrote is kept for another try. The original body stays beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty dead-letters edit 17 --note 'the partner sent euros as text'
  loyalty dead-letters edit 17 --body fixed.json --yes
  loyalty dead-letters export - --reason invalid_field | jq ...")]
pub(super) struct Edit {
    /// The number of the dead letter
    id: DeadLetterId,
    /// Take the body from this file, or from standard input (-), rather than from an editor
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Edit {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Keys, 2).await?;
        let id = self.id;
        let Some(opened) = dead_letters::open(&pool, id).await? else {
            return not_edited(id, format!("There is no dead letter {id}"), context);
        };
        let written = match &self.body {
            Some(path) => Written { body: read(path)?, draft: None },
            None => write(id, &opened)?,
        };
        let body = match check(&opened, written.body.clone()) {
            Ok(body) => body,
            Err(problem) => return not_edited(id, written.explained(&problem), context),
        };
        let Some(approval) = self.confirmation.ask(&plan(id, &body))? else {
            output::note(&written.kept())?;
            return Ok(ExitStatus::Failure);
        };
        let programme = context.settings.config()?.programme;
        let report = match edit(&pool, &programme, id, &body, &approval).await? {
            Ok(report) => report,
            Err(problem) => return not_edited(id, written.explained(&problem), context),
        };
        written.forget();
        context.output.answer(&report, |report| {
            let replay = report.replay.as_ref().map(words).unwrap_or_default();
            format!("dead letter {id} is edited; a replay now: {replay}")
        })?;
        Ok(ExitStatus::Success)
    }
}

fn plan(id: DeadLetterId, body: &EditedBody) -> String {
    format!("dead letter {id} is to be sent as\n{}", readable(body.as_bytes(), PersonalData::Masked))
}

fn not_edited(id: DeadLetterId, problem: String, context: &Context) -> anyhow::Result<ExitStatus> {
    let report = EditReport::not_edited(id, problem);
    context.output.answer(&report, |report| report.problem.clone().unwrap_or_default())?;
    Ok(ExitStatus::Failure)
}

/// A body that an operator wrote.
struct Written {
    body: Vec<u8>,
    /// The file that they wrote it in, which is kept until it is taken.
    draft: Option<PathBuf>,
}

impl Written {
    /// The problem, and where to go on after it.
    fn explained(&self, problem: &EditProblem) -> String {
        match problem {
            EditProblem::Unchanged => problem.to_string(),
            EditProblem::Broken(_) | EditProblem::Refused(_) => format!("{problem}{}", self.kept()),
        }
    }

    fn kept(&self) -> String {
        let kept = |draft: &PathBuf| format!("\nWhat you wrote is kept: go on with --body {}\n", draft.display());
        self.draft.as_ref().map(kept).unwrap_or_default()
    }

    fn forget(self) {
        if let Some(draft) = self.draft {
            // It is in the database now; a draft that cannot be removed harms nobody but its writer.
            let _ = fs::remove_file(draft);
        }
    }
}

/// The file, up to one byte more than a command may have.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let most = BODY_MAX_BYTES as u64 + 1;
    if path.as_os_str() == "-" {
        io::stdin().lock().take(most).read_to_end(&mut body)?;
        return Ok(body);
    }
    let named = |error: io::Error| Usage(format!("{}: {error}", path.display()));
    File::open(path).map_err(named)?.take(most).read_to_end(&mut body).map_err(named)?;
    Ok(body)
}

/// Has the operator write it, beginning with what there is.
fn write(id: DeadLetterId, opened: &Opened) -> anyhow::Result<Written> {
    if !io::stdin().is_terminal() {
        return Err(Usage("there is no terminal for an editor: give --body FILE".to_owned()).into());
    }
    let present = opened.edited_body.as_ref().unwrap_or(&opened.body);
    let draft = std::env::temp_dir().join(format!("loyalty-dead-letter-{id}-{}.json", Uuid::now_v7().simple()));
    // Readable for nobody else: it may hold an address.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let file = file.as_mut().map_err(|error| Usage(format!("{}: {error}", draft.display())))?;
    file.write_all(&editable(present))?;
    let editor =
        ["VISUAL", "EDITOR"].into_iter().find_map(|name| crate::environment::text(name).filter(|it| !it.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // By a shell, since the variable may hold arguments: "code --wait".
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&draft).status();
    let status = status.with_context(|| format!("could not run the editor {editor}"))?;
    let body = read(&draft)?;
    if !status.success() || body == editable(present) {
        let _ = fs::remove_file(&draft);
        return Ok(Written { body: Vec::new(), draft: None });
    }
    Ok(Written { body, draft: Some(draft) })
}

/// JSON with a field a line; anything else byte for byte.
fn editable(body: &[u8]) -> Vec<u8> {
    let pretty = std::str::from_utf8(body).ok().and_then(pretty);
    pretty.map_or_else(|| body.to_vec(), |text| (text + "\n").into_bytes())
}
