//! What one row adds to the balance sheet.

/// Where points came from and where they went: the columns of the balance sheet. In each row, and so in all of them,
/// `issued - reversed + debt_delta + written_off = delta + held_delta + spent + expired + forfeited`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// What a credit named.
    pub issued: i64,
    /// What a reversal of a credit took back.
    pub reversed: i64,
    /// What was spent for good; negative where a reversal gave it back.
    pub spent: i64,
    /// What expired; negative where a reversal took it back.
    pub expired: i64,
    /// What ended with the membership.
    pub forfeited: i64,
    /// Debt that ended with the membership.
    pub written_off: i64,
}

impl Sheet {
    /// That of a row that moves no point into or out of the programme.
    pub const NONE: Self = Self { issued: 0, reversed: 0, spent: 0, expired: 0, forfeited: 0, written_off: 0 };

    /// That of a plain row: what came in was issued, and what went out was spent.
    pub const fn of_plain(delta: i64) -> Self {
        if delta > 0 { Self { issued: delta, ..Self::NONE } } else { Self { spent: -delta, ..Self::NONE } }
    }
}
