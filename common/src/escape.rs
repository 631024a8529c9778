//! The door to everything that people read: characters that a terminal obeys, or that nobody sees, are spelled out.
//!
//! Others choose routing keys, headers, names and error texts. Shown as they are, they could clear a screen, write to a
//! clipboard, forge a line or turn what follows around.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::io;

/// A text from outside inside a line of ours: a break in it is spelled out as well, so that it cannot pose as a line.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.pad(&spelled(&text, |c| is_hidden(c) || c == '\n', in_text))
    }
}

/// A text of several lines, whose breaks are our own.
pub fn lines(text: &str) -> Cow<'_, str> {
    spelled(text, is_hidden, in_text)
}

/// The same JSON. Such characters stand in its strings only, where an escape means the same.
pub fn json(text: &str) -> Cow<'_, str> {
    spelled(text, is_hidden, |c, to| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(to, "\\u{unit:04x}");
        }
    })
}

/// Writes JSON so. Each write is to end where a character does, as those of `serde_json` and of whole lines do.
#[derive(Debug)]
pub struct JsonWriter<W>(pub W);

impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write_all(json(&String::from_utf8_lossy(text)).as_bytes())?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether a terminal would obey the character, or nobody would see it: control characters but for the break of a line,
/// what changes the direction of writing, what has no width, other breaks of lines, and tags.
pub fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn in_text(c: char, to: &mut String) {
    match c {
        '\n' | '\r' | '\t' => to.extend(c.escape_default()),
        other => to.extend(other.escape_unicode()),
    }
}

fn spelled(text: &str, is_to_be: impl Fn(char) -> bool, spell: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&is_to_be) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_to_be(c) { spell(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        let check = |text: &str, shown: &str| assert_eq!(Escaped(text).to_string(), shown);
        check("plain, Zoë, 你好, 👋🏽", "plain, Zoë, 你好, 👋🏽");
        check("\u{1b}]52;c;AAAA\u{7}", r"\u{1b}]52;c;AAAA\u{7}");
        check("a\nready http://evil\r\t", r"a\nready http://evil\r\t");
        check("\u{9b}2J\u{7f}\u{202e}\u{200b}\u{feff}\u{2028}", r"\u{9b}2J\u{7f}\u{202e}\u{200b}\u{feff}\u{2028}");
        check("\u{ad}\u{61c}\u{180e}\u{200f}", r"\u{ad}\u{61c}\u{180e}\u{200f}");
        check("\u{2060}\u{2066}\u{206f}\u{fff9}\u{fffb}", r"\u{2060}\u{2066}\u{206f}\u{fff9}\u{fffb}");
        check("\u{e0000}\u{e0041}\u{e007f}", r"\u{e0000}\u{e0041}\u{e007f}");
        assert_eq!(lines("one\ntwo\u{85}"), "one\ntwo\\u{85}");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}2J \u{e0041} \u{1b}\n plain" });
        let shown = json(&value.to_string()).into_owned();
        assert!(!shown.contains(is_hidden), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }

    proptest::proptest! {
        #[test]
        fn nothing_hidden_passes(text in "\\PC*|(?s).*") {
            proptest::prop_assert!(!lines(&text).contains(is_hidden));
            proptest::prop_assert!(!Escaped(&text).to_string().contains(|c| is_hidden(c) || c == '\n'));
        }
    }
}
