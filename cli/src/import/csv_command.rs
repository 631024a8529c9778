//! What a row of a CSV file asks for: by `--as` a purchase or points by hand, and by the sign of its amount to add
//! points or to take them.
//!
//! | `--as` | amount | becomes |
//! |---|---|---|
//! | `earn` | 0 or more | `earn` |
//! | `earn` | below 0 | `reverse` of the row that the column `--returns` names, by the points of this amount |
//! | `adjust` | any | `adjust` with the row's reason, which takes points if the amount is below 0 |
//!
//! **What is returned** is named by what its own row has in the column `--id`: the id of its command is made from that,
//! so the row itself need not be in the file. Without `--id` ids are made from what rows say, which no other row can
//! name; then the column holds command ids. Without the column a negative amount cannot be used: it is no `earn`, and
//! points taken by hand could be returned a second time. Whether the target is there, and whether so much is left of it,
//! the worker decides; a dry run names what returns more than the rows above it leave. Parts are rounded down each, and never come to more than the whole.
//!
//! **The id of a return** is made from its own `--id`, as that of a purchase is. Where it is that of the row that it
//! returns, since the file knows orders and no returns, it is made from what the row says, and from how many rows before
//! it said the same: two equal returns of one order stay two.
//!
//! A row keeps its id whatever `--as` says: the same file taken as `earn` and as `adjust` is told, and adds nothing
//! twice. Opening balances that are to count towards rewards are `earn`s, so there is no flag for `counts`.

use csv::ByteRecord;
use loyalty_common::values::SignedPoints;
use loyalty_common::{Action, Adjust, Command, CommandId, Earn, MemberId, Points, Reverse, Text};

use super::amount::{Amount, AmountError};
use super::csv_rows::{Reading, Values};
use super::mapping::RowType;
use super::row::Unusable;
use super::row_ids::RowIds;

impl Reading {
    /// The command of a row.
    pub(super) fn command(&self, fields: &ByteRecord, values: &Values, ids: &mut RowIds) -> Result<Command, Unusable> {
        let amount = values.amount.map_err(|error| Unusable::Fault(error.to_string()))?;
        let returned = self.returned(fields, amount);
        // Of every row with an amount, whatever becomes of it: how many equal ones came before must not depend on the
        // rest of the row.
        let command_id = self.id(fields, values, amount, returned.as_ref().copied().unwrap_or_default(), ids);
        let returned = returned.map_err(Unusable::Fault)?;
        let points = amount.points(self.columns.rate).map_err(unusable)?;
        let member_id = &values.member_id;
        Ok(Command {
            command_id: command_id.map_err(Unusable::Fault)?,
            member_id: member_id.clone(),
            occurred_at: values.occurred_at,
            reason: self.reason(fields, member_id).map_err(Unusable::Fault)?,
            source_ref: None,
            action: match (self.columns.row_type, returned) {
                (RowType::Earn, None) => Earn { points }.into(),
                (RowType::Earn, Some(returned)) => {
                    let target = self.target(member_id, returned, ids).map_err(Unusable::Fault)?;
                    Reverse { target, points: Some(points) }.into()
                }
                (RowType::Adjust, _) => adjust(amount, points),
            },
        })
    }

    /// What names the row that this one returns, if it is a return.
    fn returned<'f>(&self, fields: &'f ByteRecord, amount: Amount) -> Result<Option<&'f str>, String> {
        match (self.columns.row_type, self.columns.returns) {
            (RowType::Adjust, _) => Ok(None),
            (RowType::Earn, _) if !amount.is_negative() => Ok(None),
            (RowType::Earn, None) => {
                Err("negative amount, and no column names what is returned (--returns)".to_owned())
            }
            (RowType::Earn, Some(column)) => match self.field(fields, column)? {
                "" => Err(format!(
                    "negative amount, and the column `{}`, which names what is returned, is empty",
                    self.columns.names[column]
                )),
                returned => Ok(Some(returned)),
            },
        }
    }

    /// The command that a return is about.
    fn target(&self, member_id: &MemberId, returned: &str, ids: &RowIds) -> Result<CommandId, String> {
        match (self.columns.key, self.columns.returns) {
            (None, Some(column)) => {
                returned.parse().map_err(|allowed| format!("the column `{}` {allowed}", self.columns.names[column]))
            }
            (Some(_), _) | (None, None) => Ok(ids.of_key(member_id, returned)),
        }
    }

    /// The id of a row's command: by its column of ids, unless that names what it returns, or by what it says.
    fn id(
        &self,
        fields: &ByteRecord,
        values: &Values,
        amount: Amount,
        returned: Option<&str>,
        ids: &mut RowIds,
    ) -> Result<CommandId, String> {
        let key = self.columns.key.map(|column| match self.field(fields, column)? {
            "" => Err(format!("the column `{}` is empty", self.columns.names[column])),
            key => Ok(key),
        });
        let key = key.transpose()?;
        match key {
            Some(key) if returned != Some(key) => Ok(ids.of_key(&values.member_id, key)),
            Some(_) | None => {
                let said = [values.member_id.as_str(), &amount.normalized(), &values.written];
                Ok(ids.of_purchase(said.into_iter().chain(key)))
            }
        }
    }

    fn reason(&self, fields: &ByteRecord, member_id: &MemberId) -> Result<Option<Text>, String> {
        let Some(template) = &self.columns.reason else { return Ok(None) };
        let reason = self.fill(fields, template, member_id)?;
        Text::parse(&reason).map(Some).map_err(|allowed| format!("the reason {allowed}"))
    }
}

fn adjust(amount: Amount, points: Points) -> Action {
    let points = if amount.is_negative() { -points.get() } else { points.get() };
    let points = SignedPoints::try_new(points).expect("points are in bounds with either sign");
    Adjust::try_new(points, None).expect("it counts nothing as earned").into()
}

fn unusable(error: AmountError) -> Unusable {
    match error {
        AmountError::NoPoint => Unusable::TooSmall(error.to_string()),
        AmountError::Empty
        | AmountError::NotPlain
        | AmountError::TwoReadings
        | AmountError::TooLong
        | AmountError::TooManyPoints => Unusable::Fault(error.to_string()),
    }
}
