//! A binary that was built without traces.

use crate::http_client::HttpUrl;

/// Nothing.
pub(super) enum Export {}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[error("this binary was built without traces; build it with `--features otel`")]
pub(super) struct ExportError;

impl Export {
    pub(super) const fn start(_service: &'static str, _collector: &HttpUrl) -> Result<Self, ExportError> {
        Err(ExportError)
    }

    #[expect(clippy::unused_async, reason = "the other one waits")]
    pub(super) async fn close(self) {
        match self {}
    }
}
