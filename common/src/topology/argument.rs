//! An argument of a queue or exchange, with what breaks where it is not as it should be.

use lapin::types::{AMQPValue, FieldTable};

use super::Impact;

/// A named argument. RabbitMQ ignores a name that it does not know: keep them exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What it should be.
    pub value: Value,
    /// What breaks where it is missing or another.
    pub breaks: Impact,
}

/// The value of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// A switch.
    Switch(bool),
}

impl Argument {
    pub(super) fn text(name: &'static str, value: &str, breaks: Impact) -> Self {
        Self { name, value: Value::Text(value.to_owned()), breaks }
    }

    pub(super) fn number(name: &'static str, value: i64, breaks: Impact) -> Self {
        Self { name, value: Value::Number(value), breaks }
    }

    pub(super) fn switch(name: &'static str, value: bool, breaks: Impact) -> Self {
        Self { name, value: Value::Switch(value), breaks }
    }
}

/// The arguments as lapin wants them.
pub fn field_table(arguments: &[Argument]) -> FieldTable {
    let mut table = FieldTable::default();
    for Argument { name, value, .. } in arguments {
        let value = match value {
            Value::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Value::Number(number) => AMQPValue::LongLongInt(*number),
            Value::Switch(on) => AMQPValue::Boolean(*on),
        };
        table.insert((*name).into(), value);
    }
    table
}
