//! The rows that one batch of facts touches, in memory: each is read at most once and written once,
//! however many facts of the batch concern it.

use std::collections::HashMap;

use base::{AccountId, MessageId, Meta, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::state::{MessageState, RecipientState, Tally};
use crate::StoreError;
use crate::sql::{prepare, timestamp};

/// One message's row, and those of its recipients that were touched.
pub(super) struct MessageRow<'b> {
    pub account: AccountId,
    pub tally: Tally,
    pub quarantined_at: Option<Timestamp>,
    pub closed_at: Option<Timestamp>,
    pub recipients: Recipients<'b>,
}

pub(super) enum Recipients<'b> {
    /// The message is new in this batch: its recipients by position.
    New(&'b Meta, Vec<RecipientRow>),
    /// The message is in the database: those that were touched, by position.
    Stored(HashMap<u32, RecipientRow>),
}

#[derive(Clone, Copy)]
pub(super) struct RecipientRow {
    pub state: RecipientState,
    pub changed_at: Timestamp,
    pub attempts: u32,
}

impl<'b> MessageRow<'b> {
    pub fn new(meta: &'b Meta) -> MessageRow<'b> {
        let recipient = RecipientRow { state: RecipientState::Queued, changed_at: meta.received_at, attempts: 0 };
        let count = meta.envelope.recipients.len();
        MessageRow {
            account: meta.account,
            // An envelope has a thousand recipients or so: it always fits.
            tally: Tally { queued: count as u32, ..Tally::default() },
            quarantined_at: None,
            closed_at: None,
            recipients: Recipients::New(meta, vec![recipient; count]),
        }
    }

    /// `None`: the database does not know the message.
    pub fn load(connection: &Connection, id: MessageId) -> Result<Option<MessageRow<'b>>, StoreError> {
        let sql = "SELECT account, queued, deferred, held, delivered, bounced, expired, cancelled, \
                   quarantined_at, closed_at FROM message WHERE id = $1";
        let row = prepare(connection, sql)?.query_row([id.as_bytes()], |row| {
            let at = |index| row.get::<_, Option<i64>>(index).map(|at| at.map(timestamp));
            Ok(MessageRow {
                account: AccountId(row.get(0)?),
                tally: Tally {
                    queued: row.get(1)?,
                    deferred: row.get(2)?,
                    held: row.get(3)?,
                    delivered: row.get(4)?,
                    bounced: row.get(5)?,
                    expired: row.get(6)?,
                    cancelled: row.get(7)?,
                },
                quarantined_at: at(8)?,
                closed_at: at(9)?,
                recipients: Recipients::Stored(HashMap::new()),
            })
        });
        Ok(row.optional()?)
    }

    pub fn state(&self) -> MessageState {
        if self.quarantined_at.is_some() { MessageState::Quarantined } else { self.tally.state() }
    }
}

impl Recipients<'_> {
    /// `None`: the message has no recipient of that position.
    pub fn touch(
        &mut self,
        connection: &Connection,
        message: MessageId,
        position: u32,
    ) -> Result<Option<&mut RecipientRow>, StoreError> {
        match self {
            Recipients::New(_, rows) => Ok(rows.get_mut(position as usize)),
            Recipients::Stored(rows) => {
                if !rows.contains_key(&position)
                    && let Some(row) = load_recipient(connection, message, position)?
                {
                    rows.insert(position, row);
                }
                Ok(rows.get_mut(&position))
            }
        }
    }
}

fn load_recipient(
    connection: &Connection,
    message: MessageId,
    position: u32,
) -> Result<Option<RecipientRow>, StoreError> {
    let sql = "SELECT state, changed_at, attempts FROM recipient WHERE message = $1 AND position = $2";
    let row = prepare(connection, sql)?
        .query_row((message.as_bytes(), position), |row| {
            Ok((row.get::<_, i64>(0)?, timestamp(row.get(1)?), row.get::<_, u32>(2)?))
        })
        .optional()?;
    let Some((state, changed_at, attempts)) = row else { return Ok(None) };
    let state = RecipientState::from_number(state).ok_or(StoreError::Unreadable { what: "a recipient's state" })?;
    Ok(Some(RecipientRow { state, changed_at, attempts }))
}
