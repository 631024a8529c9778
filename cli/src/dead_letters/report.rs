//! What a replay has to tell: what it foresaw, what it did, and what it left.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use loyalty_operator::replay::{Ended, Report};
use loyalty_store::letters::{Concluded, Held, LetterId, LetterState, Replayable};
use serde::Serialize;

use super::plan::{Foreseen, summary, words};
use super::selection::Choice;

/// Everything, for a program.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// What was predicted of each letter that was open.
    pub(super) foreseen: Vec<Foreseen>,
    /// What became of those that were sent.
    concluded: Vec<End>,
    /// Sent, and without a result yet.
    unanswered: Vec<LetterId>,
    /// Not sent; open again.
    released: Vec<LetterId>,
    /// In the hands of another replay.
    held: Vec<Held>,
    /// Replayed or discarded before.
    done: Vec<Done>,
    /// Numbers of no letter.
    missing: Vec<LetterId>,
    /// Whether more letters match than were looked at.
    more: bool,
    /// Why the replay ended; none, if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
}

#[derive(Debug, Serialize)]
struct End {
    dead_letter_id: LetterId,
    #[serde(flatten)]
    concluded: Concluded,
}

#[derive(Debug, Serialize)]
struct Done {
    dead_letter_id: LetterId,
    state: LetterState,
}

impl Told {
    pub(super) fn new(choice: &Choice, letters: &[Replayable], foreseen: Vec<Foreseen>) -> Self {
        let is_known = |id: &LetterId| letters.binary_search_by_key(id, |letter| letter.dead_letter_id).is_ok();
        let settled = |letter: &&Replayable| match letter.state {
            LetterState::Open | LetterState::Replaying => false,
            LetterState::Replayed | LetterState::Discarded => true,
        };
        let done = |letter: &Replayable| Done { dead_letter_id: letter.dead_letter_id, state: letter.state };
        Self {
            foreseen,
            concluded: Vec::new(),
            unanswered: Vec::new(),
            released: Vec::new(),
            held: Vec::new(),
            done: letters.iter().filter(settled).map(done).collect(),
            missing: choice.ids.iter().copied().filter(|id| !is_known(id)).collect(),
            more: choice.more,
            ended: None,
        }
    }

    /// The letters that are not bound to come back.
    pub(super) fn worth_sending(&self) -> Vec<LetterId> {
        let worth = self.foreseen.iter().filter(|it| it.prediction.is_worth_sending());
        worth.map(|it| it.dead_letter_id).collect()
    }

    pub(super) fn with(mut self, report: Report) -> Self {
        self.concluded =
            report.concluded.into_iter().map(|(dead_letter_id, concluded)| End { dead_letter_id, concluded }).collect();
        self.concluded.sort_by_key(|end| end.dead_letter_id);
        self.unanswered = report.unanswered;
        self.released = report.released;
        self.held = report.held;
        self.done.extend(report.done.into_iter().map(|(dead_letter_id, state)| Done { dead_letter_id, state }));
        self.missing.extend(report.missing);
        self.ended = Some(self.why(&report.ended));
        self
    }

    /// Whether each letter that was to be sent has its result, and none failed again.
    pub(super) fn came_to_their_ends(&self) -> bool {
        let failed = self.concluded.iter().any(|end| matches!(end.concluded, Concluded::Dead { .. }));
        !failed && self.unanswered.is_empty() && self.released.is_empty() && self.held.is_empty()
    }

    /// A rehearsal.
    pub(super) fn rehearsed(&self, each: &str) -> String {
        if self.foreseen.is_empty() {
            return self.nothing_to_send();
        }
        format!("{each}\n{}{}Nothing was changed", summary(&self.foreseen), self.leftover())
    }

    /// Why there is nothing to do.
    pub(super) fn nothing_to_send(&self) -> String {
        let mut text = String::new();
        for it in self.foreseen.iter().take(SHOWN_MAX) {
            let _ = writeln!(text, "{}: {}", it.dead_letter_id, words(&it.prediction));
        }
        if self.foreseen.len() > SHOWN_MAX {
            let _ = write!(text, "...\n{}", summary(&self.foreseen));
        }
        text += &self.leftover();
        if text.is_empty() { "No dead letters match".to_owned() } else { text + "There is nothing to send" }
    }

    /// A replay.
    pub(super) fn replayed(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for end in &self.concluded {
            *counts.entry(result(&end.concluded)).or_default() += 1;
        }
        let mut text = String::new();
        for (result, count) in counts {
            let _ = writeln!(text, "{count} {result}");
        }
        for end in &self.concluded {
            if let Concluded::Dead { reason, successor_id } = &end.concluded {
                let _ = writeln!(text, "{} failed again: {reason}, now dead letter {successor_id}", end.dead_letter_id);
            }
        }
        if !self.unanswered.is_empty() {
            let _ = writeln!(
                text,
                "{} sent and without a result yet (does a worker run? it or the next replay records it): {}",
                self.unanswered.len(),
                ids(&self.unanswered)
            );
        }
        if !self.released.is_empty() {
            let _ = writeln!(text, "{} not sent and open again: {}", self.released.len(), ids(&self.released));
        }
        let left = self.foreseen.iter().filter(|it| !it.prediction.is_worth_sending()).count();
        if left > 0 {
            let _ = writeln!(text, "{left} left as they are: they would only have come back (see --dry-run)");
        }
        text += &self.leftover();
        text + self.ended.as_deref().unwrap_or_default()
    }

    /// Why it ended; not that everything was sent, if there was nothing left for it.
    fn why(&self, ended: &Ended) -> String {
        if *ended == Ended::Finished && self.concluded.is_empty() && self.unanswered.is_empty() {
            return "nothing was sent".to_owned();
        }
        ended.to_string()
    }

    /// Letters that were asked for and are not for this replay.
    fn leftover(&self) -> String {
        let mut text = String::new();
        for (whose, held) in grouped(&self.held, |held| format!("{} since {:.0}", held.by, held.since)) {
            let held: Vec<_> = held.iter().map(|held| held.dead_letter_id).collect();
            let _ =
                writeln!(text, "{} held by a replay of {whose}, or behind one of these: {}", held.len(), ids(&held));
        }
        for (state, done) in grouped(&self.done, |done| done.state) {
            let done: Vec<_> = done.iter().map(|done| done.dead_letter_id).collect();
            let _ = writeln!(text, "{} were {state} before: {}", done.len(), ids(&done));
        }
        if !self.missing.is_empty() {
            let _ = writeln!(text, "there are no such dead letters: {}", ids(&self.missing));
        }
        if self.more {
            text += "more match than these\n";
        }
        text
    }
}

fn result(concluded: &Concluded) -> String {
    match concluded {
        Concluded::Applied { .. } => "applied".to_owned(),
        Concluded::Refused { code, .. } => format!("refused: {code}"),
        Concluded::Duplicate => "known already; nothing changed".to_owned(),
        Concluded::Parked => "parked until the member is enrolled".to_owned(),
        Concluded::Dead { .. } => "dead letters again".to_owned(),
        Concluded::Queued => "mails queued anew".to_owned(),
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

/// A terminal is no place for thousands of letters, and `--json` has them.
const SHOWN_MAX: usize = 10;

fn ids(ids: &[LetterId]) -> String {
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
    use loyalty_operator::replay::Ended;
    use loyalty_store::dead_letter::Reason;

    fn id(number: i64) -> LetterId {
        number.to_string().parse().expect("a number")
    }

    #[test]
    fn a_replay_is_told_in_a_few_lines() {
        let choice = Choice { ids: (1..=8).map(id).collect(), more: false };
        let told = Told { missing: vec![id(8)], ..Told::new(&choice, &[], Vec::new()) };
        let told = told.with(Report {
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
        });
        assert!(!told.came_to_their_ends());
        insta::assert_snapshot!(told.replayed(), @"
        1 applied
        1 dead letters again
        1 refused: exited
        3 failed again: failed, now dead letter 9
        1 sent and without a result yet (does a worker run? it or the next replay records it): 4
        2 not sent and open again: 5, 6
        1 held by a replay of fay since 2026-11-22T10:00:00Z, or behind one of these: 7
        there are no such dead letters: 8
        the replay was stopped
        ");
    }
}
