//! `reverse`: a credit or a debit is undone, wholly or in part. What of its target can be undone, its row says.

use loyalty_common::{Points, RefusalCode, Reverse};

use super::{Applied, Context, Decision, Reads, Rule};
use crate::account::{Account, Part};
use crate::balance_sheet::Sheet;
use crate::programme::{Programme, WhenShort};
use crate::target::{Target, TargetKind};

impl Rule for Reverse {
    fn reads(&self) -> Reads {
        Reads { target: Some(self.target), ..Reads::NONE }
    }

    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a> {
        match context.target {
            None => Decision::Refused(RefusalCode::NoSuchTarget),
            Some(target) if target.epoch != before.state.epoch => Decision::Refused(RefusalCode::EarlierMembership),
            Some(target) => reverse(before, target, self.points.map(Points::get), context),
        }
    }
}

fn reverse(before: &Account, target: &Target, asked: Option<i64>, context: &Context<'_>) -> Decision<'static> {
    let kind = target.kind();
    let total = match kind {
        TargetKind::Credit { points } | TargetKind::Debit { points } => points,
        TargetKind::Other => return Decision::Refused(RefusalCode::NotReversible),
    };
    let left = total - target.reversed;
    let points = asked.unwrap_or(left);
    if left == 0 {
        return Decision::Refused(RefusalCode::AlreadyReversed);
    }
    if points > left {
        return Decision::Refused(RefusalCode::MoreThanLeft);
    }
    let mut after = before.clone();
    let sheet = match kind {
        TargetKind::Debit { .. } => {
            give_back(&mut after, target, total, points, context);
            Sheet { spent: -points, ..Sheet::NONE }
        }
        TargetKind::Credit { .. } | TargetKind::Other => {
            Sheet { reversed: points, expired: -take_back(&mut after, target, points), ..Sheet::NONE }
        }
    };
    let is_short = after.state.debt > before.state.debt;
    match context.programme.reversal.when_short {
        WhenShort::Refuse if is_short => Decision::Refused(RefusalCode::InsufficientPoints),
        WhenShort::Refuse | WhenShort::Debt => {
            Applied::new(before, after, sheet).reversing(target.reversed + points).into()
        }
    }
}

/// Takes back what a credit gave. Returns how many of the points had expired unspent.
fn take_back(after: &mut Account, target: &Target, points: i64) -> i64 {
    if target.counted {
        after.state.lifetime -= points;
    }
    // A credit may have paid debt too: what it put into its lot is what is taken back first.
    let credited = target.credited().map(|(lot, credited)| (lot, (credited - target.reversed).max(0)));
    after.take_back(points, credited)
}

/// Gives back what a debit took. A debit that is given back is no earning.
fn give_back(after: &mut Account, target: &Target, total: i64, points: i64, context: &Context<'_>) {
    let parts = Part::of_debit(total, &target.debited(), context.programme.zone());
    let mut back = Part::way_back(&parts, target.reversed, points);
    for part in &mut back {
        give_grace(part, context.effective_at, context.programme);
    }
    after.give_back(back, context.effective_at);
}

/// Points whose day has passed get another one; without grace they keep theirs, and expire at once.
fn give_grace(part: &mut Part, effective_at: jiff::Timestamp, programme: &Programme) {
    if part.day.is_some_and(|day| day.expires_at <= effective_at) {
        part.day = programme.grace_day(effective_at).or(part.day);
    }
}
