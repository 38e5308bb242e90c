//! Facts of the journal become rows, exactly once.
//!
//! One transaction holds what the facts changed and the cursor behind them. A fact at or before the
//! cursor that the transaction finds is skipped, so a batch may be handed in again whatever happened
//! to the answer to the first time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base::{AccountId, Attempt, Fact, MessageId, Meta, Recorded, Scope, Timestamp};
use rusqlite::Connection;

use super::fold::{MessageRow, RecipientRow, Recipients};
use super::record::{seal_attempt, seal_message, seal_reason};
use super::state::{Counter, EventKind, RecipientState};
use crate::sealed::{Keys, Sealed};
use crate::sql::{micros, prepare};
use crate::{Day, Store, StoreError};

/// A place in the journal, opaque but for its order: later facts have greater ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position(pub i64, pub i64);

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    pub applied: usize,
    /// Lay at or before the cursor: applied by an earlier call.
    pub repeated: usize,
    /// Copies made by the spool when it moved a message: they say nothing new.
    pub carried: usize,
    /// About a message or a recipient that the history does not know.
    pub orphaned: usize,
}

impl Store {
    /// Applies facts in the order of the journal and sets the cursor. `cursor` is where reading goes
    /// on; no fact of the batch lies behind it. Once answered, it is on stable storage.
    ///
    /// # Errors
    /// Nothing of the batch is applied then; the same call may be made again.
    pub async fn history_append(
        &self,
        scope: Scope,
        batch: Arc<Vec<(Position, Recorded)>>,
        cursor: Position,
    ) -> Result<Appended, StoreError> {
        crate::instance_only(scope)?;
        let keys = Arc::clone(self.keys());
        self.sqlite().write(move |connection| append(connection, &keys, &batch, cursor)).await
    }

    /// Up to where the journal is applied.
    pub async fn history_cursor(&self, scope: Scope) -> Result<Position, StoreError> {
        crate::instance_only(scope)?;
        self.sqlite().read(|connection| Ok(Projector::load(connection)?.cursor)).await
    }

    /// Begins again at `cursor`, for a spool that is not the one the history was made from: its
    /// positions mean something else. What the history knows stays.
    pub async fn history_rewind(&self, scope: Scope, cursor: Position) -> Result<(), StoreError> {
        crate::instance_only(scope)?;
        self.sqlite()
            .write(move |connection| Projector { cursor, ..Projector::load(connection)? }.store(connection))
            .await
    }
}

struct Projector {
    cursor: Position,
    /// The last number given to an event.
    event_seq: i64,
}

impl Projector {
    fn load(connection: &Connection) -> Result<Projector, StoreError> {
        let sql = "SELECT segment, position, event_seq FROM projector WHERE singleton = 1";
        Ok(prepare(connection, sql)?.query_row([], |row| {
            Ok(Projector { cursor: Position(row.get(0)?, row.get(1)?), event_seq: row.get(2)? })
        })?)
    }

    fn store(self, connection: &Connection) -> Result<(), StoreError> {
        let sql = "UPDATE projector SET segment = $1, position = $2, event_seq = $3 WHERE singleton = 1";
        prepare(connection, sql)?.execute((self.cursor.0, self.cursor.1, self.event_seq))?;
        Ok(())
    }
}

fn append(
    connection: &Connection,
    keys: &Keys,
    batch: &[(Position, Recorded)],
    cursor: Position,
) -> Result<Appended, StoreError> {
    let projector = Projector::load(connection)?;
    let mut fold = Fold {
        rows: BTreeMap::new(),
        events: Events { connection, keys, seq: projector.event_seq, counts: HashMap::new() },
        report: Appended::default(),
    };
    for (position, recorded) in batch {
        if *position <= projector.cursor {
            fold.report.repeated += 1;
        } else if recorded.carried {
            fold.report.carried += 1;
        } else {
            fold.apply(recorded)?;
        }
    }
    for (id, row) in &fold.rows {
        store_message(connection, keys, *id, row)?;
    }
    store_counts(connection, &fold.events.counts)?;
    // A repeated batch never sets the cursor back.
    let cursor = cursor.max(projector.cursor);
    Projector { cursor, event_seq: fold.events.seq }.store(connection)?;
    Ok(fold.report)
}

struct Fold<'b> {
    /// Sorted, so that rows are written in the order of the tables.
    rows: BTreeMap<MessageId, MessageRow<'b>>,
    events: Events<'b>,
    report: Appended,
}

impl<'b> Fold<'b> {
    fn apply(&mut self, recorded: &'b Recorded) -> Result<(), StoreError> {
        let id = recorded.message;
        let connection = self.events.connection;
        if let Fact::Accepted(meta) = &recorded.fact {
            self.rows.insert(id, MessageRow::new(meta));
            self.report.applied += 1;
            return self.events.accepted(id, meta);
        }
        if !self.rows.contains_key(&id)
            && let Some(row) = MessageRow::load(connection, id)?
        {
            self.rows.insert(id, row);
        }
        let Some(row) = self.rows.get_mut(&id) else {
            self.report.orphaned += 1;
            return Ok(());
        };
        self.report.applied += 1;
        match &recorded.fact {
            // Handled above.
            Fact::Accepted(_) => Ok(()),
            Fact::Attempted(attempt) => {
                self.report.orphaned += attempted(&mut self.events, row, id, attempt)?;
                Ok(())
            }
            Fact::Held { at, reason, .. } => {
                row.held_at = Some(*at);
                self.events.count(row.account, *at, Counter::Held, 1);
                self.events.about_message(row.account, id, *at, EventKind::Held, Some(reason))
            }
            Fact::Released { at, .. } => {
                row.held_at = None;
                self.events.about_message(row.account, id, *at, EventKind::Released, None)
            }
            Fact::Closed { at } => {
                row.closed_at = Some(*at);
                Ok(())
            }
            Fact::Quarantined { at, reason } => {
                row.quarantined_at = Some(*at);
                self.events.count(row.account, *at, Counter::Quarantined, 1);
                self.events.about_message(row.account, id, *at, EventKind::Quarantined, Some(reason))
            }
        }
    }
}

/// Answers how many of its results are about recipients that nobody knows.
fn attempted(
    events: &mut Events<'_>,
    row: &mut MessageRow<'_>,
    id: MessageId,
    attempt: &Attempt,
) -> Result<usize, StoreError> {
    let (account, at) = (row.account, attempt.finished_at);
    // Expiry and cancellation are written as attempts that reached no server.
    if !attempt.server.is_empty() {
        events.count(account, at, Counter::Attempts, 1);
    }
    if attempt.results.is_empty() {
        return events
            .attempt(Told { account, id, at, kind: EventKind::Attempted, recipient: None }, attempt)
            .map(|_| 0);
    }
    let mut told_by = None;
    let mut orphaned = 0;
    for result in &attempt.results {
        let Some(recipient) = row.recipients.touch(events.connection, id, result.recipient)? else {
            orphaned += 1;
            continue;
        };
        let state = RecipientState::from(&result.outcome);
        row.tally.shift(recipient.state, state);
        let attempts = recipient.attempts.saturating_add(1);
        *recipient = RecipientRow { state, changed_at: at, attempts };
        events.count(account, at, counter(state), 1);
        let event = Told { account, id, at, kind: state.into(), recipient: Some(result.recipient) };
        // The first event has the whole attempt, the others refer to it.
        match told_by {
            None => told_by = Some(events.attempt(event, attempt)?),
            Some(first) => events.add(event, Some(first), None)?,
        }
    }
    Ok(orphaned)
}

fn counter(state: RecipientState) -> Counter {
    match state {
        RecipientState::Queued => Counter::Recipients,
        RecipientState::Deferred => Counter::Deferred,
        RecipientState::Delivered => Counter::Delivered,
        RecipientState::Bounced => Counter::Bounced,
        RecipientState::Expired => Counter::Expired,
        RecipientState::Cancelled => Counter::Cancelled,
    }
}

/// What an event says, but for its number and detail.
struct Told {
    account: AccountId,
    id: MessageId,
    at: Timestamp,
    kind: EventKind,
    recipient: Option<u32>,
}

/// Writes events as they come, and adds up the counters.
struct Events<'b> {
    connection: &'b Connection,
    keys: &'b Keys,
    seq: i64,
    counts: HashMap<(AccountId, Day, Counter), i64>,
}

impl Events<'_> {
    fn accepted(&mut self, id: MessageId, meta: &Meta) -> Result<(), StoreError> {
        let (account, at) = (meta.account, meta.received_at);
        self.count(account, at, Counter::Messages, 1);
        self.count(account, at, Counter::Recipients, octets(meta.envelope.recipients.len() as u64));
        self.count(account, at, Counter::Octets, octets(meta.size_octets));
        self.add(Told { account, id, at, kind: EventKind::Accepted, recipient: None }, None, None)
    }

    fn about_message(
        &mut self,
        account: AccountId,
        id: MessageId,
        at: Timestamp,
        kind: EventKind,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let detail = reason.map(|reason| seal_reason(self.keys, account, Day::of(at), self.seq + 1, reason));
        self.add(Told { account, id, at, kind, recipient: None }, None, detail)
    }

    /// An event that carries its attempt's detail; answers its number.
    fn attempt(&mut self, told: Told, attempt: &Attempt) -> Result<i64, StoreError> {
        let seq = self.seq + 1;
        let detail = seal_attempt(self.keys, told.account, Day::of(told.at), seq, attempt);
        self.add(told, Some(seq), Some(detail))?;
        Ok(seq)
    }

    fn add(&mut self, told: Told, attempt: Option<i64>, detail: Option<Sealed>) -> Result<(), StoreError> {
        self.seq += 1;
        let sql = "INSERT INTO event (seq, at, account, message, recipient, kind, attempt, key_day, detail) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        prepare(self.connection, sql)?.execute((
            self.seq,
            micros(told.at),
            told.account.0,
            told.id.as_bytes(),
            told.recipient,
            told.kind.number(),
            attempt,
            Day::of(told.at).0,
            detail,
        ))?;
        Ok(())
    }

    fn count(&mut self, account: AccountId, at: Timestamp, counter: Counter, number: i64) {
        *self.counts.entry((account, Day::of(at), counter)).or_default() += number;
    }
}

/// No file has more octets than fit.
fn octets(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn store_message(connection: &Connection, keys: &Keys, id: MessageId, row: &MessageRow<'_>) -> Result<(), StoreError> {
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
               queued, deferred, delivered, bounced, expired, cancelled, held_at, quarantined_at, closed_at, record) \
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
        octets(meta.size_octets),
        row.state().number(),
        tally.queued,
        tally.deferred,
        tally.delivered,
        tally.bounced,
        tally.expired,
        tally.cancelled,
        row.held_at.map(micros),
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
    let sql = "UPDATE message SET state = $1, queued = $2, deferred = $3, delivered = $4, bounced = $5, \
               expired = $6, cancelled = $7, held_at = $8, quarantined_at = $9, closed_at = $10 WHERE id = $11";
    let tally = row.tally;
    prepare(connection, sql)?.execute((
        row.state().number(),
        tally.queued,
        tally.deferred,
        tally.delivered,
        tally.bounced,
        tally.expired,
        tally.cancelled,
        row.held_at.map(micros),
        row.quarantined_at.map(micros),
        row.closed_at.map(micros),
        id.as_bytes(),
    ))?;
    Ok(())
}

fn store_counts(connection: &Connection, counts: &HashMap<(AccountId, Day, Counter), i64>) -> Result<(), StoreError> {
    let mut statement = prepare(
        connection,
        "INSERT INTO counter (account, day, kind, number) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (account, day, kind) DO UPDATE SET number = counter.number + excluded.number",
    )?;
    for ((account, day, counter), number) in counts {
        statement.execute((account.0, day.0, counter.number(), number))?;
    }
    Ok(())
}
