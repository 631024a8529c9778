//! `loyalty receipt`: what was decided about a command.

use loyalty_common::escape::Escaped;
use loyalty_common::{CommandId, MemberId, Outcome, Receipt};
use loyalty_operator::receipts::{self, CommandStatus, Undecided};
use loyalty_store::dead_letters::{DeadLetter, DeadLetterState};
use loyalty_store::pool::PlannerProfile;

use crate::Context;
use crate::exit::ExitStatus;
use crate::output::grouped;

/// Show what was decided about a command
///
/// Every command that was applied or refused has a receipt for as long as the ledger is kept. Exit code 1 if there is
/// none; if the command waits for its member's enrolment or is a dead letter, that is shown instead.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  loyalty receipt ann 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11 --json | jq .balance_after"
)]
pub(crate) struct ShowReceipt {
    member: MemberId,
    command_id: CommandId,
}

impl ShowReceipt {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Keys, 1).await?;
        let status = receipts::find(&pool, &self.member, self.command_id).await?;
        context.output.answer(&status, |status| match status {
            Some(CommandStatus::Decided(receipt)) => sentence(receipt),
            Some(CommandStatus::Undecided(undecided)) => format!("{}: {}", self.no_receipt(), reason(undecided)),
            None => format!("{}: it is still on its way, or was never published", self.no_receipt()),
        })?;
        Ok(matches!(status, Some(CommandStatus::Decided(_))).into())
    }

    fn no_receipt(&self) -> String {
        format!("There is no receipt for command {} of {}", self.command_id, self.member)
    }
}

/// Where a command is that has no receipt.
fn reason(undecided: &Undecided) -> String {
    match undecided {
        Undecided::Parked(parked) => format!("parked until its member enrols, since {:.0}", parked.parked_at),
        Undecided::DeadLetter(dead_letter) => {
            let DeadLetter { dead_letter_id, state, reason, error, .. } = &**dead_letter;
            let next = match state {
                DeadLetterState::Open => format!("see `loyalty dead-letters show {dead_letter_id}`"),
                DeadLetterState::Replaying => "it is being replayed".to_owned(),
                DeadLetterState::Replayed => "it was replayed".to_owned(),
                DeadLetterState::Discarded => "it was discarded".to_owned(),
            };
            format!("it is dead letter {dead_letter_id}, {reason}: {}\n{next}", Escaped(error))
        }
    }
}

/// A receipt in words.
pub(crate) fn sentence(receipt: &Receipt) -> String {
    let Receipt { member_id, r#type, outcome, balance_after, seq, command_id, recorded_at, .. } = receipt;
    let points = receipt.points.map(|points| format!(" {}", grouped(points))).unwrap_or_default();
    let what = match outcome {
        Outcome::Applied => String::new(),
        Outcome::Refused => receipt.code.map(|code| format!(", {code}: {}", code.message())).unwrap_or_default(),
    };
    let balance = grouped(*balance_after);
    let decided = format!("{outcome}: {type} {member_id}{points}{what}\n");
    let placed = format!("{decided}balance {balance}, at place {seq} of the ledger, {recorded_at:.0}");
    let command = format!("command {command_id}");
    [vec![placed], details(receipt), vec![command]].concat().join("\n")
}

/// What only some receipts say, a line each.
fn details(receipt: &Receipt) -> Vec<String> {
    let changes = [
        ("held", receipt.held_delta, "+"),
        ("debt", receipt.debt_delta, "+"),
        ("debt written off", receipt.written_off, ""),
    ];
    let changes = changes.into_iter().filter(|(_, change, _)| *change != 0).map(|(what, change, plus)| {
        let plus = if change > 0 { plus } else { "" };
        format!("{what} {plus}{}", grouped(change))
    });
    let is_late = receipt.effective_at != receipt.occurred_at;
    let others = [
        receipt.target.map(|target| format!("target {target}")),
        receipt.number.map(|number| format!("reward number {number}")),
        receipt.expires_at.map(|at| format!("until {at:.0}")),
        is_late.then(|| format!("happened {:.0}, effective {:.0}", receipt.occurred_at, receipt.effective_at)),
        receipt.reason.as_ref().map(|reason| format!("reason {reason}")),
    ];
    changes.chain(others.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use loyalty_common::{CommandType, RefusalCode};

    fn earned() -> Receipt {
        let at = "2026-11-22T10:00:00.123456Z".parse().expect("a time");
        Receipt {
            member_id: "ann".parse().expect("a member id"),
            command_id: "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID"),
            r#type: CommandType::Earn.into(),
            outcome: Outcome::Applied,
            code: None,
            points: Some(1_200),
            target: None,
            expires_at: None,
            number: None,
            delta: 1_200,
            held_delta: 0,
            debt_delta: 0,
            written_off: 0,
            balance_after: 1_450,
            seq: 7,
            epoch: 1,
            occurred_at: at,
            effective_at: at,
            recorded_at: at,
            reason: Some("order 991".to_owned()),
            source_ref: None,
        }
    }

    #[test]
    fn a_receipt_reads_as_a_sentence() {
        insta::assert_snapshot!(sentence(&earned()), @r"
        applied: earn ann 1,200
        balance 1,450, at place 7 of the ledger, 2026-11-22T10:00:00Z
        reason order 991
        command 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        ");
        let refused = Receipt {
            r#type: CommandType::Spend.into(),
            outcome: Outcome::Refused,
            code: Some(RefusalCode::InsufficientPoints),
            delta: 0,
            reason: None,
            ..earned()
        };
        insta::assert_snapshot!(sentence(&refused), @r"
        refused: spend ann 1,200, insufficient_points: the balance is smaller than the points to spend
        balance 1,450, at place 7 of the ledger, 2026-11-22T10:00:00Z
        command 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        ");
    }

    #[test]
    fn a_receipt_says_what_became_of_a_hold_and_when() {
        let captured = Receipt {
            r#type: CommandType::Capture.into(),
            points: Some(50),
            target: Some(earned().command_id),
            held_delta: -70,
            debt_delta: -20,
            effective_at: "2026-11-23T10:00:00Z".parse().expect("a time"),
            reason: None,
            ..earned()
        };
        insta::assert_snapshot!(sentence(&captured), @r"
        applied: capture ann 50
        balance 1,450, at place 7 of the ledger, 2026-11-22T10:00:00Z
        held -70
        debt -20
        target 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        happened 2026-11-22T10:00:00Z, effective 2026-11-23T10:00:00Z
        command 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        ");
    }
}
