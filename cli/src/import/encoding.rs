//! From a file's bytes to text in UTF-8, as a stream: by its byte order mark, by the encoding that was named, or by the
//! zero bytes that show UTF-16. What counts as UTF-8 passes through unchanged: a row that is none is told by its line.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use encoding_rs_io::DecodeReaderBytesBuilder;

use loyalty_common::values::Invalid;

/// What is looked at to find UTF-16 and the ends of lines: a header and some rows.
pub(super) const SAMPLE_BYTES: u64 = 4096;

/// A text in UTF-16 without a mark is found if one in so many of its characters is of ASCII: the delimiters and digits
/// alone are more. A stray zero byte in another file is fewer.
const ASCII_SHARE: usize = 8;

/// The encoding of a file, by the names that browsers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charset(&'static Encoding);

/// Text in UTF-8.
pub(super) struct Decoded {
    text: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Decoded {
    /// The text of a file.
    pub(super) fn open(file: File, charset: Option<Charset>) -> io::Result<Self> {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut file = Counted { inner: file, bytes: Arc::clone(&bytes) };
        let mut sample = Vec::new();
        file.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        let encoding = charset.map(|charset| charset.0).or_else(|| utf_16(&sample)).filter(|named| *named != UTF_8);
        let text = DecodeReaderBytesBuilder::new()
            .encoding(encoding)
            .bom_override(true)
            .utf8_passthru(encoding.is_none())
            .strip_bom(true)
            .build(Cursor::new(sample).chain(file));
        Ok(Self { text: Box::new(text), bytes })
    }

    /// How many bytes of the file were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer)
    }
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded").finish_non_exhaustive()
    }
}

/// For `--encoding`.
impl std::str::FromStr for Charset {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        let known = Encoding::for_label(name.trim().as_bytes()).map(Self);
        known.ok_or_else(|| {
            Invalid::new("must be the name of an encoding, such as utf-8, utf-16, windows-1252 or latin1")
        })
    }
}

/// UTF-16, if the places of zero bytes say so: every second byte of ASCII text is one.
fn utf_16(sample: &[u8]) -> Option<&'static Encoding> {
    let zeros = |from: usize| sample.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let enough = sample.len() / 2 / ASCII_SHARE;
    if odd > enough && odd > even * ASCII_SHARE {
        return Some(UTF_16LE);
    }
    (even > enough && even > odd * ASCII_SHARE).then_some(UTF_16BE)
}

/// Counts what is read, for a progress bar.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn decoded(bytes: &[u8], charset: Option<&str>) -> Vec<u8> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file.rewind().expect("rewound");
        let charset = charset.map(|name| name.parse().expect("an encoding"));
        let mut text = Vec::new();
        Decoded::open(file, charset).expect("readable").read_to_end(&mut text).expect("readable");
        text
    }

    fn utf_16_bytes(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn a_file_is_decoded_by_its_mark_by_its_zeros_or_by_name() {
        // Longer than what is looked at, with a character of two units on the border.
        let text = format!("id;amount\r\nmüller;12,50\r\n{}😀\n", "ann;5,00\r\n".repeat(500));
        let marked = format!("\u{feff}{text}");
        let check = |bytes: &[u8], charset: Option<&str>| assert!(decoded(bytes, charset) == text.as_bytes());
        check(text.as_bytes(), None);
        check(marked.as_bytes(), None);
        check(marked.as_bytes(), Some("windows-1252"));
        check(text.as_bytes(), Some("utf-8"));
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            check(&utf_16_bytes(&marked, bytes), None);
            check(&utf_16_bytes(&text, bytes), None);
            check(&utf_16_bytes(&marked, bytes), Some("latin1"));
        }
        check(&utf_16_bytes(&text, u16::to_le_bytes), Some("utf-16"));
        assert_eq!(decoded(b"m\xfcller \x80", Some("latin1")), "müller €".as_bytes(), "as Excel means it");
        assert_eq!(decoded(b"m\xfcller", None), b"m\xfcller", "left to who knows the line");
        let stray = format!("a\0{text}");
        assert!(decoded(stray.as_bytes(), None) == stray.as_bytes(), "a stray zero is no UTF-16");
        assert_eq!(decoded(b"", None), b"");
        assert!("klingon".parse::<Charset>().is_err());
    }
}
