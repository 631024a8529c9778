//! A document as a tree whose fields keep their order, written as JSON or as YAML.
//!
//! `serde_json::Value` sorts its fields by name, which would put `v` last and `asyncapi` wherever; these documents are
//! read by people too.

use std::fmt::Write;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A value of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A switch.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// Values in their order.
    List(Vec<Tree>),
    /// Named values in their order. No name stands twice.
    Object(Vec<(String, Tree)>),
}

/// An object in the order in which it is written down.
macro_rules! object {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::schema::Tree::Object(vec![$((String::from($name), $crate::schema::Tree::from($value))),*])
    };
}
pub(super) use object;

impl Tree {
    /// An object of fields that are known at run time only.
    pub(super) fn fields(fields: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Object(fields.into_iter().collect())
    }

    /// A list of texts.
    pub(super) fn texts<T: ToString>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(|text| Self::Text(text.to_string())).collect())
    }

    /// The object with one field more.
    pub(super) fn with(self, name: &str, value: impl Into<Self>) -> Self {
        match self {
            Self::Object(fields) => Self::fields(fields.into_iter().chain([(name.to_owned(), value.into())])),
            Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => self,
        }
    }

    /// The object with the fields of another behind its own.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Object(fields), Self::Object(more)) => Self::fields(fields.into_iter().chain(more)),
            (it, _) => it,
        }
    }

    /// As indented JSON, with a line's end at the end.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("texts, numbers and switches always serialize");
        format!("{text}\n")
    }

    /// As YAML 1.2 in block style.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        self.write_block(&mut text, 0);
        text
    }

    /// Writes a value that begins on a line of its own, so many levels deep.
    fn write_block(&self, text: &mut String, depth: usize) {
        match self {
            Self::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    indent(text, depth);
                    write_entry(text, name, value, depth);
                }
            }
            Self::List(values) if !values.is_empty() => {
                for value in values {
                    indent(text, depth);
                    text.push_str("- ");
                    value.write_item(text, depth);
                }
            }
            Self::Object(_) | Self::List(_) | Self::Bool(_) | Self::Number(_) | Self::Text(_) => {
                indent(text, depth);
                self.write_scalar(text);
                text.push('\n');
            }
        }
    }

    /// Writes a value behind the dash of a list: its first field stands on the same line.
    fn write_item(&self, text: &mut String, depth: usize) {
        match self {
            Self::Object(fields) if !fields.is_empty() => {
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        indent(text, depth + 1);
                    }
                    write_entry(text, name, value, depth + 1);
                }
            }
            Self::List(_) | Self::Object(_) | Self::Bool(_) | Self::Number(_) | Self::Text(_) => {
                self.write_scalar(text);
                text.push('\n');
            }
        }
    }

    /// Writes a value into a line.
    fn write_scalar(&self, text: &mut String) {
        match self {
            Self::Text(value) => text.push_str(&scalar(value)),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(Self::in_json).collect();
                text.extend(["[", &values.join(", "), "]"]);
            }
            Self::Bool(_) | Self::Number(_) | Self::Object(_) => text.push_str(&self.in_json()),
        }
    }

    /// The value as JSON in one line, which is YAML as well.
    fn in_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and switches always serialize")
    }

    /// Lists of plain values fit a line; everything else that has parts gets lines of its own.
    fn needs_block(&self) -> bool {
        match self {
            Self::Object(fields) => !fields.is_empty(),
            Self::List(values) => values.iter().any(|value| matches!(value, Self::Object(_) | Self::List(_))),
            Self::Bool(_) | Self::Number(_) | Self::Text(_) => false,
        }
    }
}

fn write_entry(text: &mut String, name: &str, value: &Tree, depth: usize) {
    let _ = write!(text, "{}:", scalar(name)); // Writing to a string cannot fail.
    if value.needs_block() {
        text.push('\n');
        value.write_block(text, depth + 1);
    } else {
        text.push(' ');
        value.write_scalar(text);
        text.push('\n');
    }
}

fn indent(text: &mut String, depth: usize) {
    text.push_str(&"  ".repeat(depth));
}

/// A text as YAML reads it back: bare if nothing in it could be taken for something else, or else as a JSON string.
fn scalar(text: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b" _-./,;()'`".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let bare = begins && !text.ends_with(' ') && text.bytes().all(is_word) && !RESERVED.contains(&text);
    if bare { text.to_owned() } else { serde_json::to_string(text).expect("a text always serializes") }
}

/// Words that some reader of YAML takes for a switch or for nothing.
const RESERVED: [&str; 12] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "True", "False", "Null"];

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(on) => serializer.serialize_bool(*on),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Tree {
    fn from(on: bool) -> Self {
        Self::Bool(on)
    }
}

impl From<i64> for Tree {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<Tree>> for Tree {
    fn from(values: Vec<Tree>) -> Self {
        Self::List(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_written_in_its_order_and_no_text_is_taken_for_something_else() {
        let tree = object! {
            "v" => 1,
            "$ref" => "#/a",
            "a word" => "two words, (and) more",
            "texts" => Tree::texts(["00", "true", "", "- x", "a: b", "x\n", "ok"]),
            "empty" => vec![],
            "none" => object! {},
            "list" => vec![object! { "first" => true, "second" => object! { "deep" => -1 } }, Tree::from("x")],
        };
        insta::assert_snapshot!(tree.to_yaml(), @r##"
        v: 1
        "$ref": "#/a"
        a word: two words, (and) more
        texts: ["00", "true", "", "- x", "a: b", "x\n", "ok"]
        empty: []
        none: {}
        list:
          - first: true
            second:
              deep: -1
          - x
        "##);
        insta::assert_snapshot!(object! { "v" => 1, "a" => vec![Tree::from("x")] }.to_json(), @r#"
        {
          "v": 1,
          "a": [
            "x"
          ]
        }
        "#);
    }
}
