//! The sandbox inbox as the pages ask for it: from the store.

use base::{Actor, Scope};
use store::{CaptureSummary, Source, Store};
use web::{Answer, Captured, Entry, Inbox, Refusal};

/// Answers the pages from the store.
pub struct StoredInbox {
    pub store: Store,
}

impl StoredInbox {
    fn scope() -> Scope {
        // The pages are the operator's: they are served on loopback, or behind his proxy.
        Actor::Operator.scope()
    }
}

impl Inbox for StoredInbox {
    fn list(&self, after: Option<i64>, limit: u32) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            let found = self.store.sandbox_list(Self::scope(), after, limit).await.map_err(refusal)?;
            Ok(found.into_iter().map(entry).collect())
        })
    }

    fn show(&self, id: i64) -> Answer<'_, Option<Captured>> {
        Box::pin(async move {
            let Some(captured) = self.store.sandbox_show(Self::scope(), id).await.map_err(refusal)? else {
                return Ok(None);
            };
            // The history may be a moment behind, or have been dropped: the message is shown all the same.
            let story = self.store.message_show(Self::scope(), captured.summary.message).await.map_err(refusal)?;
            let (origin, recipients, attempts) = match story {
                Some(story) => {
                    let mut attempts: Vec<_> = story.events.into_iter().filter_map(|event| event.attempt).collect();
                    attempts.dedup_by(|a, b| std::sync::Arc::ptr_eq(a, b));
                    let attempts = attempts.iter().map(|a| base::Attempt::clone(a)).collect();
                    (Some(origin(story.source)), story.summary.recipients, attempts)
                }
                None => (None, Vec::new(), Vec::new()),
            };
            Ok(Some(Captured {
                entry: entry(captured.summary),
                content: captured.content,
                origin,
                recipients,
                attempts,
            }))
        })
    }
}

fn entry(summary: CaptureSummary) -> Entry {
    Entry {
        id: summary.id,
        message: summary.message,
        from: summary.sender,
        to: summary.recipients,
        subject: summary.subject.map(Into::into),
        size_octets: summary.size_octets,
        received_at: summary.captured_at,
    }
}

fn origin(source: Source) -> base::Origin {
    match source {
        Source::Smtp { client, helo, tls } => base::Origin::Smtp { client, helo, tls },
        Source::Local => base::Origin::Local,
        Source::Report { about, kind } => base::Origin::Report { about, kind, recipients: Vec::new() },
    }
}

/// What the store could not do, as the pages say it.
pub fn refusal(error: store::StoreError) -> Refusal {
    if error.is_temporary() { Refusal::Unavailable(error.to_string()) } else { Refusal::Internal(error.to_string()) }
}
