//! One message's whole story.

use std::collections::HashMap;
use std::sync::Arc;

use base::{AccountId, Address, Attempt, CredentialId, MessageId, Scope, Stream, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::list::{MESSAGE, MessageSummary, StoredMessage};
use super::record::{Detail, Source, open_detail};
use super::state::{EventKind, RecipientState};
use crate::sealed::{Keys, Sealed};
use crate::sql::{prepare, timestamp};
use crate::{Day, Store, StoreError};

/// Events of one message that are told; of a message with more, the latest.
const EVENTS_MAX: u32 = 10_000;

/// Everything that is known of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub summary: MessageSummary,
    pub credential: Option<CredentialId>,
    pub stream: Stream,
    pub source: Source,
    pub quarantined_at: Option<Timestamp>,
    /// By position in the envelope.
    pub recipients: Vec<RecipientStory>,
    /// In the order of the journal.
    pub events: Vec<Event>,
    /// There are earlier events than those told.
    pub truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientStory {
    pub address: Address,
    pub state: RecipientState,
    /// When the state was last set.
    pub changed_at: Timestamp,
    pub attempts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Grows in the order of the journal, over all messages.
    pub seq: i64,
    pub at: Timestamp,
    pub kind: EventKind,
    /// Position in the envelope; `None`: it is about the whole message.
    pub recipient: Option<u32>,
    /// The attempt behind it, shared by the events of all its recipients.
    pub attempt: Option<Arc<Attempt>>,
    /// Why it was held or quarantined.
    pub reason: Option<Arc<str>>,
}

impl Store {
    /// `None`: there is no such message in scope.
    pub async fn message_show(&self, scope: Scope, id: MessageId) -> Result<Option<Story>, StoreError> {
        let keys = Arc::clone(self.keys());
        self.sqlite().read(move |connection| show(connection, &keys, scope, id)).await
    }
}

fn show(connection: &Connection, keys: &Keys, scope: Scope, id: MessageId) -> Result<Option<Story>, StoreError> {
    let sql = format!("SELECT {MESSAGE} FROM message WHERE id = $1 AND ($2 IS NULL OR account = $2)");
    let only = scope.only().map(|account| account.0);
    let stored = prepare(connection, &sql)?.query_row((id.as_bytes(), only), StoredMessage::read).optional()?;
    let Some(stored) = stored else { return Ok(None) };
    let credential = stored.credential;
    let quarantined_at = stored.quarantined_at;
    let (summary, stream, source) = stored.open(keys)?;
    let recipients = recipients(connection, &summary)?;
    let (events, truncated) = events(connection, keys, summary.account, id)?;
    Ok(Some(Story { summary, credential, stream, source, quarantined_at, recipients, events, truncated }))
}

fn recipients(connection: &Connection, summary: &MessageSummary) -> Result<Vec<RecipientStory>, StoreError> {
    let sql = "SELECT position, state, changed_at, attempts FROM recipient WHERE message = $1 ORDER BY position";
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query([summary.id.as_bytes()])?;
    let mut recipients = Vec::with_capacity(summary.recipients.len());
    while let Some(row) = rows.next()? {
        let unreadable = || StoreError::Unreadable { what: "a recipient" };
        let position: u32 = row.get(0)?;
        recipients.push(RecipientStory {
            address: summary.recipients.get(position as usize).ok_or_else(unreadable)?.clone(),
            state: RecipientState::from_number(row.get(1)?).ok_or_else(unreadable)?,
            changed_at: timestamp(row.get(2)?),
            attempts: row.get(3)?,
        });
    }
    Ok(recipients)
}

fn events(
    connection: &Connection,
    keys: &Keys,
    account: AccountId,
    id: MessageId,
) -> Result<(Vec<Event>, bool), StoreError> {
    let sql = "SELECT seq, at, recipient, kind, told_by, key_day, detail FROM event \
               WHERE message = $1 ORDER BY seq DESC LIMIT $2";
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query((id.as_bytes(), EVENTS_MAX + 1))?;
    let mut events = Vec::new();
    let mut told_by = Vec::new();
    let mut details: HashMap<i64, Detail> = HashMap::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let kind = EventKind::from_number(row.get(3)?).ok_or(StoreError::Unreadable { what: "an event's kind" })?;
        if let Some(sealed) = row.get::<_, Option<Sealed>>(6)? {
            details.insert(seq, open_detail(keys, account, Day(row.get(5)?), seq, &sealed)?);
        }
        told_by.push(row.get::<_, Option<i64>>(4)?);
        let (at, recipient) = (timestamp(row.get(1)?), row.get(2)?);
        events.push(Event { seq, at, kind, recipient, attempt: None, reason: None });
    }
    // The first event of a fact, which has its detail, comes last in this order.
    for (event, told_by) in events.iter_mut().zip(told_by) {
        match told_by.and_then(|first| details.get(&first)) {
            Some(Detail::Attempt(attempt)) => event.attempt = Some(Arc::clone(attempt)),
            Some(Detail::Reason(reason)) => event.reason = Some(Arc::clone(reason)),
            None => {}
        }
    }
    let truncated = events.len() > EVENTS_MAX as usize;
    events.truncate(EVENTS_MAX as usize);
    events.reverse();
    Ok((events, truncated))
}
