//! The rows of messages and recipients, as a batch leaves them.

use base::{MessageId, Meta};
use rusqlite::Connection;

use super::fold::{MessageRow, RecipientRow, Recipients};
use super::record::seal_message;
use crate::sealed::Keys;
use crate::sql::{bigint, micros, prepare};
use crate::{Day, StoreError};

/// Writes what the batch made of one message.
pub(super) fn store_message(
    connection: &Connection,
    keys: &Keys,
    id: MessageId,
    row: &MessageRow<'_>,
) -> Result<(), StoreError> {
    match &row.recipients {
        Recipients::New(meta, recipients) => {
            // A message that is there already (the cursor was set back) stays as it is.
            if insert_message(connection, keys, meta, row)? {
                insert_recipients(connection, keys, meta, recipients)?;
            }
            Ok(())
        }
        Recipients::Stored(recipients) => {
            update_message(connection, id, row)?;
            let sql = "UPDATE recipient SET state = $1, changed_at = $2, attempts = $3 \
                       WHERE message = $4 AND position = $5";
            for (position, r) in recipients {
                let values = (r.state.number(), micros(r.changed_at), r.attempts, id.as_bytes(), position);
                prepare(connection, sql)?.execute(values)?;
            }
            Ok(())
        }
    }
}

fn insert_message(connection: &Connection, keys: &Keys, meta: &Meta, row: &MessageRow<'_>) -> Result<bool, StoreError> {
    let day = Day::of(meta.received_at);
    let sender = meta.envelope.sender.as_ref().map(|sender| keys.address_hash(meta.account, sender));
    let sql = "INSERT INTO message (id, account, credential, received_at, key_day, sender_hash, size_octets, state, \
               queued, deferred, held, delivered, bounced, expired, cancelled, quarantined_at, closed_at, record) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
               ON CONFLICT (id) DO NOTHING";
    let tally = row.tally;
    let inserted = prepare(connection, sql)?.execute(rusqlite::params![
        meta.id.as_bytes(),
        meta.account.0,
        meta.credential.map(|credential| credential.0),
        micros(meta.received_at),
        day.0,
        sender,
        bigint(meta.size_octets),
        row.state().number(),
        tally.queued,
        tally.deferred,
        tally.held,
        tally.delivered,
        tally.bounced,
        tally.expired,
        tally.cancelled,
        row.quarantined_at.map(micros),
        row.closed_at.map(micros),
        seal_message(keys, meta, day),
    ])?;
    Ok(inserted > 0)
}

fn insert_recipients(
    connection: &Connection,
    keys: &Keys,
    meta: &Meta,
    rows: &[RecipientRow],
) -> Result<(), StoreError> {
    let mut statement = prepare(
        connection,
        "INSERT INTO recipient (message, position, address_hash, state, changed_at, attempts) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )?;
    for (position, (recipient, row)) in (0u32..).zip(meta.envelope.recipients.iter().zip(rows)) {
        statement.execute((
            meta.id.as_bytes(),
            position,
            keys.address_hash(meta.account, &recipient.address),
            row.state.number(),
            micros(row.changed_at),
            row.attempts,
        ))?;
    }
    Ok(())
}

fn update_message(connection: &Connection, id: MessageId, row: &MessageRow<'_>) -> Result<(), StoreError> {
    let sql = "UPDATE message SET state = $1, queued = $2, deferred = $3, held = $4, delivered = $5, \
               bounced = $6, expired = $7, cancelled = $8, quarantined_at = $9, closed_at = $10 WHERE id = $11";
    let tally = row.tally;
    prepare(connection, sql)?.execute((
        row.state().number(),
        tally.queued,
        tally.deferred,
        tally.held,
        tally.delivered,
        tally.bounced,
        tally.expired,
        tally.cancelled,
        row.quarantined_at.map(micros),
        row.closed_at.map(micros),
        id.as_bytes(),
    ))?;
    Ok(())
}
