//! One email as it arrived, and its file.

use std::{
    fs::{DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::io::AsyncWriteExt;

/// A file name takes 255 bytes; the time and the number before the message id need thirty.
const ID_IN_NAME_MAX: usize = 120;

/// An email that the mailbox took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// The address of the envelope, as in `RCPT TO`.
    pub recipient: String,
    /// The header `Message-ID` without its angle brackets; empty if there is none.
    pub message_id: String,
    /// Header and body as sent, with the transport's dots taken out.
    pub raw: Vec<u8>,
}

impl Email {
    pub(super) fn new(recipient: String, raw: Vec<u8>) -> Self {
        let message_id = header(&String::from_utf8_lossy(&raw), "message-id").unwrap_or_default();
        Self { recipient, message_id: message_id.trim_matches(['<', '>']).to_owned(), raw }
    }

    /// The whole email as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// The value of a header, its continuation lines joined, or nothing. The name's case does not matter.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.text(), name)
    }
}

/// Emails hold names and addresses: only their owner may list and read them.
const OWNER_ONLY_DIR: u32 = 0o700;
const OWNER_ONLY_FILE: u32 = 0o600;

/// Makes the directory of the emails. One that was there before, and what is in it, is closed to others as well.
pub(super) fn directory(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY_DIR).create(dir)?;
    std::fs::set_permissions(dir, Permissions::from_mode(OWNER_ONLY_DIR))?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_email = entry.path().extension().is_some_and(|extension| extension == "eml" || extension == "tmp");
        if is_email && entry.file_type()?.is_file() {
            std::fs::set_permissions(entry.path(), Permissions::from_mode(OWNER_ONLY_FILE))?;
        }
    }
    Ok(())
}

/// Writes `dir/<milliseconds>-<number>-<message id>.eml`. Who lists `*.eml` sees whole files only.
pub(super) async fn write(dir: &Path, email: &Email, number: u64) -> io::Result<()> {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let name = format!("{millis:013}-{number:06}-{}", file_name_part(&email.message_id));
    let unfinished = dir.join(format!("{name}.tmp"));
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(OWNER_ONLY_FILE).open(&unfinished).await?;
    file.write_all(&email.raw).await?;
    file.flush().await?;
    tokio::fs::rename(&unfinished, dir.join(format!("{name}.eml"))).await
}

/// What may stand in a file name on any system: the sender chose the id, so nothing else of it is trusted.
fn file_name_part(id: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@') { c } else { '_' };
    id.chars().take(ID_IN_NAME_MAX).map(safe).collect()
}

fn header(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().take_while(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let Some((found, value)) = line.split_once(':') else { continue };
        if !found.eq_ignore_ascii_case(name) {
            continue;
        }
        let mut whole = value.trim().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            whole.push(' ');
            whole.push_str(more.trim());
        }
        return Some(whole.trim().to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_folded_or_not() {
        let raw = b"Subject: A\r\nMessage-ID:\r\n <one@two>\r\nTo: x\r\n\r\nSubject: body\r\nCc: body\r\n".to_vec();
        let email = Email::new("x@example.com".to_owned(), raw);
        assert_eq!(email.message_id, "one@two");
        assert_eq!(email.header("subject").as_deref(), Some("A"));
        assert_eq!(email.header("Cc"), None);
    }

    #[test]
    fn a_message_id_cannot_name_another_directory() {
        assert_eq!(file_name_part("../../etc/x\0@y"), "______etc_x_@y");
    }
}
