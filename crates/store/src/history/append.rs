//! Facts of the journal become rows, exactly once.
//!
//! One transaction holds what the facts changed and the cursor behind them. A fact at or before the
//! cursor that the transaction finds is skipped, so a batch may be handed in again whatever happened
//! to the answer to the first time.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Attempt, Fact, MessageId, Outcome, RecipientResult, Recorded, Scope, Timestamp};
use rusqlite::Connection;

use super::events::{Events, Telling};
use super::fold::{MessageRow, RecipientRow};
use super::record::Behind;
use super::rows::store_message;
use super::state::{Counter, EventKind, RecipientState};
use crate::sealed::Keys;
use crate::sql::prepare;
use crate::{Store, StoreError};

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
        events: Events::new(connection, keys, projector.event_seq),
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
    let event_seq = fold.events.finish()?;
    // A repeated batch never sets the cursor back.
    let cursor = cursor.max(projector.cursor);
    Projector { cursor, event_seq }.store(connection)?;
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
        if let Fact::Accepted(meta) = &recorded.fact {
            self.rows.insert(id, MessageRow::new(meta));
            self.report.applied += 1;
            return self.events.accepted(meta);
        }
        if !self.rows.contains_key(&id)
            && let Some(row) = MessageRow::load(self.events.connection, id)?
        {
            self.rows.insert(id, row);
        }
        let Some(row) = self.rows.get_mut(&id) else {
            self.report.orphaned += 1;
            return Ok(());
        };
        self.report.applied += 1;
        let mut about = About { id, row, events: &mut self.events };
        match &recorded.fact {
            // Handled above.
            Fact::Accepted(_) => {}
            Fact::Attempted(attempt) => self.report.orphaned += about.attempted(attempt)?,
            Fact::Held { at, reason, recipients } => self.report.orphaned += about.held(*at, reason, recipients)?,
            Fact::Released { at, recipients } => self.report.orphaned += about.released(*at, recipients)?,
            Fact::Closed { at } => row.closed_at = Some(*at),
            Fact::Quarantined { at, reason } => about.quarantined(*at, reason)?,
        }
        Ok(())
    }
}

/// One fact about one message that is known. Where recipients are named, the answer is how many of
/// them nobody knows.
struct About<'a, 'b> {
    id: MessageId,
    row: &'a mut MessageRow<'b>,
    events: &'a mut Events<'b>,
}

impl About<'_, '_> {
    fn attempted(&mut self, attempt: &Attempt) -> Result<usize, StoreError> {
        let at = attempt.finished_at;
        let mut telling = self.telling(at, Some(Behind::Attempt(attempt)));
        // Expiry and cancellation are written as attempts, and are none.
        let tried = |outcome: &Outcome| !matches!(outcome, Outcome::Expired | Outcome::Cancelled);
        if attempt.results.is_empty() || attempt.results.iter().any(|result| tried(&result.outcome)) {
            self.events.count(self.row.account, at, Counter::Attempts, 1);
        }
        if attempt.results.is_empty() {
            self.events.tell(&mut telling, EventKind::Attempted, None)?;
        }
        let mut orphaned = 0;
        for RecipientResult { recipient: position, outcome, .. } in &attempt.results {
            let Some(recipient) = self.row.recipients.touch(self.events.connection, self.id, *position)? else {
                orphaned += 1;
                continue;
            };
            let decided = RecipientState::from(outcome);
            let held = recipient.state == RecipientState::Held && !decided.is_final();
            let state = if held { RecipientState::Held } else { decided };
            self.row.tally.shift(recipient.state, state);
            let attempts = recipient.attempts.saturating_add(u32::from(tried(outcome)));
            *recipient = RecipientRow { state, changed_at: at, attempts };
            self.events.count(self.row.account, at, counter(outcome), 1);
            self.events.tell(&mut telling, decided.into(), Some(*position))?;
        }
        Ok(orphaned)
    }

    fn held(&mut self, at: Timestamp, reason: &str, recipients: &[u32]) -> Result<usize, StoreError> {
        let mut telling = self.telling(at, Some(Behind::Reason(reason)));
        let mut orphaned = 0;
        for position in recipients {
            let Some(recipient) = self.row.recipients.touch(self.events.connection, self.id, *position)? else {
                orphaned += 1;
                continue;
            };
            if recipient.state.is_final() {
                continue;
            }
            self.row.tally.shift(recipient.state, RecipientState::Held);
            (recipient.state, recipient.changed_at) = (RecipientState::Held, at);
            self.events.count(self.row.account, at, Counter::Held, 1);
            self.events.tell(&mut telling, EventKind::Held, Some(*position))?;
        }
        Ok(orphaned)
    }

    fn released(&mut self, at: Timestamp, recipients: &[u32]) -> Result<usize, StoreError> {
        let mut telling = self.telling(at, None);
        let mut orphaned = 0;
        for position in recipients {
            let Some(recipient) = self.row.recipients.touch(self.events.connection, self.id, *position)? else {
                orphaned += 1;
                continue;
            };
            if recipient.state != RecipientState::Held {
                continue;
            }
            let before = if recipient.attempts == 0 { RecipientState::Queued } else { RecipientState::Deferred };
            self.row.tally.shift(recipient.state, before);
            (recipient.state, recipient.changed_at) = (before, at);
            self.events.tell(&mut telling, EventKind::Released, Some(*position))?;
        }
        Ok(orphaned)
    }

    fn quarantined(&mut self, at: Timestamp, reason: &str) -> Result<(), StoreError> {
        self.row.quarantined_at = Some(at);
        self.events.count(self.row.account, at, Counter::Quarantined, 1);
        let mut telling = self.telling(at, Some(Behind::Reason(reason)));
        self.events.tell(&mut telling, EventKind::Quarantined, None)
    }

    fn telling<'d>(&self, at: Timestamp, behind: Option<Behind<'d>>) -> Telling<'d> {
        Telling { account: self.row.account, message: self.id, at, behind, told_by: None }
    }
}

fn counter(outcome: &Outcome) -> Counter {
    match outcome {
        Outcome::Delivered { .. } => Counter::Delivered,
        Outcome::Deferred { .. } => Counter::Deferred,
        Outcome::Bounced => Counter::Bounced,
        Outcome::Expired => Counter::Expired,
        Outcome::Cancelled => Counter::Cancelled,
    }
}
