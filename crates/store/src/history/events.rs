//! Events are written as they come, in the order of the journal; counters are added up and written
//! at the end.

use std::collections::HashMap;

use base::{AccountId, MessageId, Meta, Timestamp};
use rusqlite::Connection;

use super::record::{Behind, seal_detail};
use super::state::{Counter, EventKind};
use crate::sealed::Keys;
use crate::sql::{bigint, micros, prepare};
use crate::{Day, StoreError};

pub(super) struct Events<'b> {
    pub connection: &'b Connection,
    keys: &'b Keys,
    /// The last number given.
    seq: i64,
    counts: HashMap<(AccountId, Day, Counter), i64>,
}

/// The events of one fact: the first has the detail, the others refer to it.
pub(super) struct Telling<'d> {
    pub account: AccountId,
    pub message: MessageId,
    pub at: Timestamp,
    pub behind: Option<Behind<'d>>,
    pub told_by: Option<i64>,
}

impl<'b> Events<'b> {
    /// Numbers go on behind `seq`.
    pub fn new(connection: &'b Connection, keys: &'b Keys, seq: i64) -> Events<'b> {
        Events { connection, keys, seq, counts: HashMap::new() }
    }

    pub fn accepted(&mut self, meta: &Meta) -> Result<(), StoreError> {
        let (account, at) = (meta.account, meta.received_at);
        self.count(account, at, Counter::Messages, 1);
        self.count(account, at, Counter::Recipients, meta.envelope.recipients.len() as u64);
        self.count(account, at, Counter::Octets, meta.size_octets);
        let mut telling = Telling { account, message: meta.id, at, behind: None, told_by: None };
        self.tell(&mut telling, EventKind::Accepted, None)
    }

    pub fn tell(
        &mut self,
        telling: &mut Telling<'_>,
        kind: EventKind,
        recipient: Option<u32>,
    ) -> Result<(), StoreError> {
        self.seq += 1;
        let day = Day::of(telling.at);
        let detail = match (&telling.behind, telling.told_by) {
            (Some(behind), None) => {
                telling.told_by = Some(self.seq);
                Some(seal_detail(self.keys, telling.account, day, self.seq, behind))
            }
            _ => None,
        };
        let sql = "INSERT INTO event (seq, at, account, message, recipient, kind, told_by, key_day, detail) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        prepare(self.connection, sql)?.execute((
            self.seq,
            micros(telling.at),
            telling.account.0,
            telling.message.as_bytes(),
            recipient,
            kind.number(),
            telling.told_by,
            day.0,
            detail,
        ))?;
        Ok(())
    }

    pub fn count(&mut self, account: AccountId, at: Timestamp, counter: Counter, number: u64) {
        *self.counts.entry((account, Day::of(at), counter)).or_default() += bigint(number);
    }

    /// Writes the counters; answers the last number given to an event.
    pub fn finish(self) -> Result<i64, StoreError> {
        let mut statement = prepare(
            self.connection,
            "INSERT INTO counter (account, day, kind, number) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (account, day, kind) DO UPDATE SET number = counter.number + excluded.number",
        )?;
        for ((account, day, counter), number) in self.counts {
            statement.execute((account.0, day.0, counter.number(), number))?;
        }
        Ok(self.seq)
    }
}
