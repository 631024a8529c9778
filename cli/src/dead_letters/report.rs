//! A replay in words: what it foresaw, what it did, and what it left.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use loyalty_operator::dead_letters::ReplayReport;
use loyalty_store::dead_letters::{Concluded, DeadLetterId};

use super::plan::{summary, words};

/// A plan that is not carried out.
pub(super) fn dry_run(report: &ReplayReport, each: &str) -> String {
    let predicted = &report.plan.predicted;
    if predicted.is_empty() {
        return nothing_to_send(report);
    }
    format!("{each}\n{}{}Nothing was changed", summary(predicted), leftover(report))
}

/// Why there is nothing to do.
pub(super) fn nothing_to_send(report: &ReplayReport) -> String {
    if report.plan.matches_nothing() {
        return "No dead letters match; there is nothing to replay".to_owned();
    }
    let predicted = &report.plan.predicted;
    let mut text = String::new();
    for it in predicted.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "{}: {}", it.dead_letter_id, words(&it.prediction));
    }
    if predicted.len() > SHOWN_MAX {
        let _ = write!(text, "...\n{}", summary(predicted));
    }
    text + &leftover(report) + "There is nothing to replay"
}

pub(super) fn replayed(report: &ReplayReport) -> String {
    let ReplayReport { plan, unanswered, released, .. } = report;
    let mut text = conclusions(report);
    if !unanswered.is_empty() {
        let _ = writeln!(
            text,
            "{} sent and without a result yet (is a worker running? It or the next replay records the result): {}",
            unanswered.len(),
            ids(unanswered)
        );
    }
    if !released.is_empty() {
        let _ = writeln!(text, "{} not sent and open again: {}", released.len(), ids(released));
    }
    let left = plan.predicted.iter().filter(|it| !it.prediction.is_worth_sending()).count();
    if left > 0 {
        let _ = writeln!(text, "{left} left as they are: they would be dead letters again (see --dry-run)");
    }
    text += &leftover(report);
    text + &report.ended.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn conclusions(report: &ReplayReport) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for it in &report.concluded {
        *counts.entry(result(&it.concluded)).or_default() += 1;
    }
    let mut text = String::new();
    for (result, count) in counts {
        let _ = writeln!(text, "{count} {result}");
    }
    for it in &report.concluded {
        if let Concluded::Dead { reason, successor_id } = &it.concluded {
            let _ = writeln!(text, "{} failed again: {reason}, now dead letter {successor_id}", it.dead_letter_id);
        }
    }
    text
}

/// What was asked for and is not for this replay.
fn leftover(ReplayReport { plan, held, .. }: &ReplayReport) -> String {
    let mut text = String::new();
    for (whose, held) in grouped(held, |held| format!("{} since {:.0}", held.by, held.since)) {
        let held: Vec<_> = held.iter().map(|held| held.dead_letter_id).collect();
        let _ = writeln!(text, "{} held by a replay of {whose}, or behind one of these: {}", held.len(), ids(&held));
    }
    for (state, done) in grouped(&plan.done, |done| done.state) {
        let done: Vec<_> = done.iter().map(|done| done.dead_letter_id).collect();
        let _ = writeln!(text, "{} were {state} before: {}", done.len(), ids(&done));
    }
    if !plan.missing.is_empty() {
        let _ = writeln!(text, "no such dead letters: {}", ids(&plan.missing));
    }
    if plan.more {
        text += "more match than these\n";
    }
    text
}

fn result(concluded: &Concluded) -> String {
    match concluded {
        Concluded::Applied { .. } => "applied".to_owned(),
        Concluded::Refused { code, .. } => format!("refused: {code}"),
        Concluded::Duplicate => "known already; nothing changed".to_owned(),
        Concluded::Parked => "parked until the member is enrolled".to_owned(),
        Concluded::Dead { .. } => "dead letters again".to_owned(),
        Concluded::Queued => "emails queued again".to_owned(),
    }
}

/// Those of a kind together.
fn grouped<T, K: Ord>(all: &[T], kind: impl Fn(&T) -> K) -> BTreeMap<K, Vec<&T>> {
    let mut groups: BTreeMap<K, Vec<&T>> = BTreeMap::new();
    for one in all {
        groups.entry(kind(one)).or_default().push(one);
    }
    groups
}

/// A terminal is no place for thousands of numbers, and `--json` has them.
const SHOWN_MAX: usize = 10;

fn ids(ids: &[DeadLetterId]) -> String {
    let mut texts: Vec<String> = ids.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if ids.len() > SHOWN_MAX {
        texts.push("...".to_owned());
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use loyalty_common::RefusalCode;
    use loyalty_operator::dead_letters::ReplayPlan;
    use loyalty_operator::replay::{Ended, ReplayOutcome};
    use loyalty_store::dead_letters::{Held, Reason};

    fn id(number: i64) -> DeadLetterId {
        number.to_string().parse().expect("a number")
    }

    #[test]
    fn a_replay_is_told_in_a_few_lines() {
        let plan = ReplayPlan { missing: vec![id(8)], ..ReplayPlan::default() };
        let report = ReplayReport::new(
            plan,
            ReplayOutcome {
                concluded: vec![
                    (id(3), Concluded::Dead { reason: Reason::Failed, successor_id: id(9) }),
                    (id(1), Concluded::Applied { balance: 5 }),
                    (id(2), Concluded::Refused { code: RefusalCode::Exited, balance: 0 }),
                ],
                unanswered: vec![id(4)],
                released: vec![id(5), id(6)],
                held: vec![Held {
                    dead_letter_id: id(7),
                    by: "fay".to_owned(),
                    since: "2026-11-22T10:00:00Z".parse().expect("a time"),
                }],
                done: Vec::new(),
                missing: Vec::new(),
                ended: Ended::Stopped,
            },
        );
        assert!(!report.is_success());
        insta::assert_snapshot!(replayed(&report), @"
        1 applied
        1 dead letters again
        1 refused: exited
        3 failed again: failed, now dead letter 9
        1 sent and without a result yet (is a worker running? It or the next replay records the result): 4
        2 not sent and open again: 5, 6
        1 held by a replay of fay since 2026-11-22T10:00:00Z, or behind one of these: 7
        no such dead letters: 8
        the replay was stopped
        ");
    }
}
