//! What the product knows of a member.

use loyalty_common::RefusalCode;
use loyalty_ledger::{Account, Effects, Entry, Hold, LotChange, Sheet};

use super::book::{Book, HoldLine, Line, LotLine, Standing};
use super::product::Product;
use super::wire;

impl Book {
    pub(super) fn of_product(product: &Product, member: &str) -> Self {
        let member = wire::member(member);
        Self {
            lines: product.rows(&member).map(line).collect(),
            standing: Standing { due_at: product.due_at(&member), ..Standing::of_product(&product.account(&member)) },
            rewards: product.rewards(&member),
            redeemed: product.redeemed(&member),
            parked: product.parked(&member),
        }
    }
}

impl Standing {
    pub(super) fn of_product(account: &Account) -> Self {
        let (state, lots) = (&account.state, account.lots.iter());
        let lots = lots.map(|lot| (lot.expires_at, lot.remaining, lot.expired));
        Self {
            status: state.status.as_str(),
            epoch: state.epoch.into(),
            milestone: state.milestone.unwrap_or(0),
            points: state.balance,
            held: state.held,
            debt: state.debt,
            lifetime: state.lifetime,
            peak: state.peak,
            as_of: state.as_of,
            due_at: account.due_at(),
            lots: lots.filter(|(_, remaining, expired)| (*remaining, *expired) != (0, 0)).collect(),
            holds: account.holds.iter().map(hold).collect(),
        }
    }
}

fn hold(hold: &Hold) -> HoldLine {
    let Hold { command_id, points, expires_at, lots, .. } = hold;
    HoldLine { command_id: wire::number(*command_id), points: *points, expires_at: *expires_at, lots: lots.clone() }
}

fn line(entry: &Entry) -> Line {
    let Effects { delta, held_delta, debt_delta, lifetime_delta, sheet, lots, .. } = &entry.effects;
    let Sheet { issued, reversed, spent, expired, forfeited, written_off } = *sheet;
    Line {
        seq: entry.seq,
        command_id: (!entry.command_id.is_of_system_row()).then(|| wire::number(entry.command_id)),
        type_name: entry.content.entry_type.as_str(),
        refused: entry.code.map(RefusalCode::as_str),
        effective_at: entry.effective_at,
        epoch: entry.epoch.into(),
        balance_after: entry.balance_after,
        delta: *delta,
        held_delta: *held_delta,
        debt_delta: *debt_delta,
        lifetime_delta: *lifetime_delta,
        issued,
        reversed,
        spent,
        expired,
        forfeited,
        written_off,
        reversed_after: entry.reversed_after,
        lots: lots.iter().map(lot).collect(),
    }
}

fn lot(change: &LotChange) -> LotLine {
    let LotChange { expires_at, delta, expired, spent } = *change;
    LotLine { expires_at, delta, expired, kept: spent }
}
