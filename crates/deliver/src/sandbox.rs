//! Where mail goes while the instance is in sandbox mode: nowhere but the inbox of the panel.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base::{Meta, Timestamp};
use bytes::Bytes;

/// A message that was caught instead of sent.
#[derive(Debug, Clone)]
pub struct Captured {
    pub meta: Arc<Meta>,
    /// Which of the envelope's recipients, by index.
    pub recipients: Vec<u32>,
    /// The bytes that would have left.
    pub content: Bytes,
    pub at: Timestamp,
}

/// Who keeps the captured mail. Declared here, because delivery asks; given from above at start.
pub trait SandboxSink: Send + Sync {
    /// Keeps it. `Ok` means that it is on stable storage: the recipients then count as delivered.
    /// Keeping the same recipients of the same message again replaces what was there.
    ///
    /// # Errors
    /// A text for the operator; delivery tries again later.
    fn capture(&self, captured: Captured) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}
