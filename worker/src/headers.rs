//! The properties and headers of a message, read and kept as JSON.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use serde_json::{Map, Value, json};

/// How many tables and lists inside each other are kept. The broker's own headers take two. Without a bound, a message
/// of thousands would be a value that neither we nor the database could read again.
const DEPTH_MAX: usize = 16;

/// What stands in place of what is nested deeper.
const TOO_DEEP: &str = "(nested too deeply to be kept)";

/// A header that holds a whole number, whatever width the broker or a publisher gave it.
pub fn integer(properties: &BasicProperties, name: &str) -> Option<i64> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::Boolean(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::ShortString(_)
        | AMQPValue::LongString(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

/// Everything that came beside the body, for an operator to read. Text that is not UTF-8 is shown with replacement
/// characters; only the body is kept byte for byte.
pub fn to_json(properties: &BasicProperties) -> Value {
    let mut all = Map::new();
    let texts = [
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            all.insert(name.to_owned(), json!(storable(text.as_str())));
        }
    }
    if let Some(timestamp) = properties.timestamp() {
        all.insert("timestamp".to_owned(), json!(timestamp));
    }
    if let Some(headers) = properties.headers() {
        let headers =
            headers.inner().iter().map(|(name, value)| (storable(name.as_str()), value_to_json(value, DEPTH_MAX)));
        all.insert("headers".to_owned(), Value::Object(headers.collect()));
    }
    Value::Object(all)
}

fn value_to_json(value: &AMQPValue, depth_left: usize) -> Value {
    let Some(depth_left) = depth_left.checked_sub(1) else { return json!(TOO_DEEP) };
    match value {
        AMQPValue::Boolean(on) => json!(on),
        AMQPValue::ShortShortInt(number) => json!(number),
        AMQPValue::ShortShortUInt(number) => json!(number),
        AMQPValue::ShortInt(number) => json!(number),
        AMQPValue::ShortUInt(number) => json!(number),
        AMQPValue::LongInt(number) => json!(number),
        AMQPValue::LongUInt(number) => json!(number),
        AMQPValue::LongLongInt(number) => json!(number),
        AMQPValue::Float(number) => json!(number),
        AMQPValue::Double(number) => json!(number),
        AMQPValue::DecimalValue(number) => json!({"scale": number.scale, "value": number.value}),
        AMQPValue::ShortString(text) => json!(storable(text.as_str())),
        AMQPValue::LongString(text) => json!(storable(&String::from_utf8_lossy(text.as_bytes()))),
        AMQPValue::FieldArray(values) => {
            values.as_slice().iter().map(|value| value_to_json(value, depth_left)).collect()
        }
        AMQPValue::Timestamp(seconds) => json!(seconds),
        AMQPValue::FieldTable(table) => {
            let field =
                |(name, value): (&ShortString, &AMQPValue)| (storable(name.as_str()), value_to_json(value, depth_left));
            Value::Object(table.inner().iter().map(field).collect())
        }
        AMQPValue::ByteArray(bytes) => json!(storable(&String::from_utf8_lossy(bytes.as_slice()))),
        AMQPValue::Void => Value::Null,
    }
}

/// A text as the database can keep it: it has no place for U+0000, in texts as well as in JSON.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::FieldTable;

    #[test]
    fn what_is_nested_too_deeply_is_cut_off() {
        let mut value = AMQPValue::LongLongInt(1);
        for _ in 0..DEPTH_MAX {
            let mut table = FieldTable::default();
            table.insert("a".into(), value);
            value = AMQPValue::FieldTable(table);
        }
        let mut headers = FieldTable::default();
        headers.insert("deep".into(), value);
        headers.insert("flat".into(), AMQPValue::Boolean(true));
        let kept = to_json(&BasicProperties::default().with_headers(headers));
        assert_eq!(kept["headers"]["flat"], json!(true));
        let cut_off = format!("{}{TOO_DEEP:?}{}", "{\"a\":".repeat(DEPTH_MAX), "}".repeat(DEPTH_MAX));
        assert_eq!(kept["headers"]["deep"].to_string(), cut_off);
    }
}
