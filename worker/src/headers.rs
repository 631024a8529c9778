//! The properties and headers of a message, read and kept as JSON.

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::{Map, Value, json};

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
        let headers = headers.inner().iter().map(|(name, value)| (storable(name.as_str()), value_to_json(value)));
        all.insert("headers".to_owned(), Value::Object(headers.collect()));
    }
    Value::Object(all)
}

fn value_to_json(value: &AMQPValue) -> Value {
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
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value_to_json).collect(),
        AMQPValue::Timestamp(seconds) => json!(seconds),
        AMQPValue::FieldTable(table) => {
            let fields = table.inner().iter().map(|(name, value)| (storable(name.as_str()), value_to_json(value)));
            Value::Object(fields.collect())
        }
        AMQPValue::ByteArray(bytes) => json!(storable(&String::from_utf8_lossy(bytes.as_slice()))),
        AMQPValue::Void => Value::Null,
    }
}

/// A text as the database can keep it: it has no place for U+0000, in texts as well as in JSON.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
