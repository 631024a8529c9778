//! What a replay would come to, in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use loyalty_operator::dead_letters::Predicted;
use loyalty_operator::dry_run::Prediction;

use crate::output::{Column, grouped, table};

/// A prediction as the end of a sentence.
pub(super) fn words(prediction: &Prediction) -> String {
    match prediction {
        Prediction::Applied { before, after } => {
            format!("would be applied: balance {} -> {}", grouped(*before), grouped(*after))
        }
        Prediction::Refused { code, balance } => {
            format!("would be refused for good: {code}, {} (balance {})", code.message(), grouped(*balance))
        }
        Prediction::Duplicate => "would change nothing: it was decided before, or is on its way".to_owned(),
        Prediction::Parked => "would wait for the member's enrolment".to_owned(),
        Prediction::Conflict { error } => format!("would be a conflict: {error}"),
        Prediction::Broken { reason, error } => format!("still broken: {reason}: {error}"),
        Prediction::Queued => "its email would be queued again".to_owned(),
        Prediction::UnknownEmail => {
            "its email may have gone already; `loyalty emails resend-unknown` decides that".to_owned()
        }
    }
}

/// Every dead letter with its prediction, a line each.
pub(super) fn each(predicted: &[Predicted]) -> String {
    let rows = predicted
        .iter()
        .map(|it| [it.dead_letter_id.to_string(), it.member_id.clone().unwrap_or_default(), words(&it.prediction)]);
    table([Column::Number("id"), Column::Text("member"), Column::Text("a replay")], rows)
}

/// How many dead letters would come to what, those that are worth sending first.
pub(super) fn summary(predicted: &[Predicted]) -> String {
    let mut sent: BTreeMap<&str, usize> = BTreeMap::new();
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for it in predicted {
        let counts = if it.prediction.is_worth_sending() { &mut sent } else { &mut left };
        *counts.entry(kind(&it.prediction)).or_default() += 1;
    }
    let mut text = String::new();
    for (what, counts) in [("to be sent", &sent), ("to be left as they are", &left)] {
        let all: usize = counts.values().sum();
        if all > 0 {
            let parts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let _ = writeln!(text, "{all} {what}: {}", parts.join(", "));
        }
    }
    text
}

fn kind(prediction: &Prediction) -> &'static str {
    match prediction {
        Prediction::Applied { .. } => "would be applied",
        Prediction::Refused { .. } => "would be refused",
        Prediction::Duplicate => "would change nothing",
        Prediction::Parked => "would wait for an enrolment",
        Prediction::Conflict { .. } => "would be a conflict",
        Prediction::Broken { .. } => "still broken",
        Prediction::Queued => "emails would be queued",
        Prediction::UnknownEmail => "emails that may have gone already",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loyalty_common::RefusalCode;
    use loyalty_store::dead_letters::Reason;

    #[test]
    fn a_plan_says_what_would_become_of_each_and_of_all() {
        let predicted: Vec<Predicted> = [
            Prediction::Applied { before: 1_000, after: 1_050 },
            Prediction::Refused { code: RefusalCode::InsufficientPoints, balance: 5 },
            Prediction::Applied { before: 0, after: 5 },
            Prediction::Broken { reason: Reason::InvalidField, error: "`points` is missing".to_owned() },
        ]
        .into_iter()
        .zip(1..)
        .map(|(prediction, id)| Predicted {
            dead_letter_id: id.to_string().parse().expect("a number"),
            member_id: Some("ann".to_owned()),
            prediction,
        })
        .collect();
        insta::assert_snapshot!(each(&predicted), @"
        id  member  a replay
         1  ann     would be applied: balance 1,000 -> 1,050
         2  ann     would be refused for good: insufficient_points, the balance is smaller than the points to spend (balance 5)
         3  ann     would be applied: balance 0 -> 5
         4  ann     still broken: invalid_field: `points` is missing
        ");
        insta::assert_snapshot!(summary(&predicted), @"
        3 to be sent: 2 would be applied, 1 would be refused
        1 to be left as they are: 1 still broken
        ");
    }
}
