//! The sandbox inbox: keeps in the store what delivery captures instead of sending.

use std::future::Future;
use std::pin::Pin;

use base::Actor;
use deliver::{Captured, SandboxSink};
use store::{Capture, SandboxLimits, Store};

/// What delivery captures into.
pub struct Inbox {
    store: Store,
    limits: SandboxLimits,
}

impl Inbox {
    pub fn new(store: Store, limits: SandboxLimits) -> Inbox {
        Inbox { store, limits }
    }
}

impl SandboxSink for Inbox {
    fn capture(&self, captured: Captured) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        let Captured { meta, recipients, content, at } = captured;
        let capture = Capture { meta, recipients, content, at };
        Box::pin(async move {
            let kept = self.store.sandbox_add(Actor::Server.scope(), capture, self.limits).await;
            kept.map_err(|error| error.to_string())
        })
    }
}
