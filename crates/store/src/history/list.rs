//! Lists of messages, newest first.

use std::sync::Arc;
use std::time::Duration;

use base::{AccountId, Address, CredentialId, MessageId, Scope, Stream, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::record::{Source, open_message};
use super::state::{MessageState, Tally};
use crate::sealed::{Keys, Sealed};
use crate::sql::{micros, prepare, timestamp};
use crate::{Day, Store, StoreError};

/// The longest page that is given.
const PAGE_MAX: u32 = 1000;
/// Ids carry the time at which they were drawn, a while before the message was there and by a clock
/// that may have been set since: narrowing by id leaves this much room, the row decides.
const ID_CLOCK_SLACK: Duration = Duration::from_secs(86_400);

/// Which messages; what is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// One of its recipients, in whatever spelling.
    pub recipient: Option<Address>,
    pub sender: Option<Address>,
    pub state: Option<MessageState>,
    /// Received then or later.
    pub since: Option<Timestamp>,
    /// Received before then.
    pub before: Option<Timestamp>,
}

/// A message in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSummary {
    pub id: MessageId,
    pub account: AccountId,
    pub received_at: Timestamp,
    /// `None` is the null sender.
    pub sender: Option<Address>,
    pub recipients: Vec<Address>,
    pub subject: Option<Box<str>>,
    pub message_id_header: Option<Box<str>>,
    pub size_octets: u64,
    pub state: MessageState,
    pub tally: Tally,
    /// When its body's key was destroyed.
    pub closed_at: Option<Timestamp>,
}

impl Store {
    /// Newest first, at most `limit` (1,000 at most). The next page begins `after` the last one's id.
    pub async fn message_list(
        &self,
        scope: Scope,
        filter: MessageFilter,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<MessageSummary>, StoreError> {
        let keys = Arc::clone(self.keys());
        let limit = limit.min(PAGE_MAX);
        self.sqlite()
            .read(move |connection| {
                let stored = match scope.only() {
                    Some(account) => list(connection, &keys, Some(account), &filter, after, limit)?,
                    // Hashes differ by account, so each account is asked for its own.
                    None if filter.recipient.is_some() || filter.sender.is_some() => {
                        list_each(connection, &keys, &filter, after, limit)?
                    }
                    None => list(connection, &keys, None, &filter, after, limit)?,
                };
                stored.into_iter().map(|stored| stored.open(&keys).map(|(summary, ..)| summary)).collect()
            })
            .await
    }
}

fn list_each(
    connection: &Connection,
    keys: &Keys,
    filter: &MessageFilter,
    after: Option<MessageId>,
    limit: u32,
) -> Result<Vec<StoredMessage>, StoreError> {
    let mut statement = prepare(connection, "SELECT id FROM account")?;
    let accounts = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let mut all = Vec::new();
    for account in accounts.into_iter().map(AccountId).chain([AccountId::INSTANCE]) {
        all.extend(list(connection, keys, Some(account), filter, after, limit)?);
    }
    all.sort_by_key(|stored| std::cmp::Reverse(stored.id));
    all.truncate(limit as usize);
    Ok(all)
}

fn list(
    connection: &Connection,
    keys: &Keys,
    account: Option<AccountId>,
    filter: &MessageFilter,
    after: Option<MessageId>,
    limit: u32,
) -> Result<Vec<StoredMessage>, StoreError> {
    let (sql, values) = statement(keys, account, filter, after, limit);
    let mut statement = prepare(connection, &sql)?;
    let rows = statement.query_map(params_from_iter(values), StoredMessage::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Only the conditions that are asked for, so that each combination finds its index. The text is
/// made of pieces of this function alone; what comes from outside is bound.
fn statement(
    keys: &Keys,
    account: Option<AccountId>,
    filter: &MessageFilter,
    after: Option<MessageId>,
    limit: u32,
) -> (String, Vec<Value>) {
    let mut wanted = Conditions::default();
    if let Some(account) = account {
        // A hash is of one account anyway: the `+` keeps the index of accounts from being preferred.
        let hashed = filter.recipient.is_some() || filter.sender.is_some();
        wanted.add(if hashed { "+account =" } else { "account =" }, Value::Integer(account.0));
        let hash = |address: &Address| Value::Blob(keys.address_hash(account, address).to_vec());
        if let Some(recipient) = &filter.recipient {
            wanted.add_closed("id IN (SELECT message FROM recipient WHERE address_hash =", hash(recipient), ")");
        }
        if let Some(sender) = &filter.sender {
            wanted.add("sender_hash =", hash(sender));
        }
    }
    if let Some(state) = filter.state {
        wanted.add("state =", Value::Integer(state.number()));
        if state != MessageState::Delivered {
            // Said in so many words, for the partial index `message_state`.
            wanted.text.push("state <> 4".to_owned());
        }
    }
    if let Some(since) = filter.since {
        wanted.add("received_at >=", Value::Integer(micros(since)));
        let earliest = Timestamp(since.0.saturating_sub(ID_CLOCK_SLACK.as_micros() as u64));
        wanted.add("id >=", Value::Blob(MessageId::new(earliest.as_millis(), [0; 10]).as_bytes().to_vec()));
    }
    if let Some(before) = filter.before {
        wanted.add("received_at <", Value::Integer(micros(before)));
        let latest = before.after(ID_CLOCK_SLACK);
        wanted.add("id <=", Value::Blob(MessageId::new(latest.as_millis(), [0xff; 10]).as_bytes().to_vec()));
    }
    if let Some(after) = after {
        wanted.add("id <", Value::Blob(after.as_bytes().to_vec()));
    }
    let conditions =
        if wanted.text.is_empty() { String::new() } else { format!("WHERE {}", wanted.text.join(" AND ")) };
    wanted.values.push(Value::Integer(limit.into()));
    let sql = format!("SELECT {MESSAGE} FROM message {conditions} ORDER BY id DESC LIMIT ${}", wanted.values.len());
    (sql, wanted.values)
}

#[derive(Default)]
struct Conditions {
    text: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, before: &str, value: Value) {
        self.add_closed(before, value, "");
    }

    fn add_closed(&mut self, before: &str, value: Value, behind: &str) {
        self.values.push(value);
        self.text.push(format!("{before} ${}{behind}", self.values.len()));
    }
}

/// The columns that [`StoredMessage::read`] reads, in its order.
pub(super) const MESSAGE: &str = "id, account, credential, received_at, key_day, size_octets, state, queued, deferred, \
                                  held, delivered, bounced, expired, cancelled, quarantined_at, closed_at, record";

/// A row of `message`, its record still sealed.
pub(super) struct StoredMessage {
    id: MessageId,
    account: AccountId,
    pub credential: Option<CredentialId>,
    received_at: Timestamp,
    key_day: Day,
    size_octets: i64,
    state: i64,
    tally: Tally,
    pub quarantined_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    record: Sealed,
}

impl StoredMessage {
    pub fn read(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
        let at = |index| row.get::<_, Option<i64>>(index).map(|at| at.map(timestamp));
        Ok(StoredMessage {
            id: MessageId::from_bytes(row.get(0)?),
            account: AccountId(row.get(1)?),
            credential: row.get::<_, Option<i64>>(2)?.map(CredentialId),
            received_at: timestamp(row.get(3)?),
            key_day: Day(row.get(4)?),
            size_octets: row.get(5)?,
            state: row.get(6)?,
            tally: Tally {
                queued: row.get(7)?,
                deferred: row.get(8)?,
                held: row.get(9)?,
                delivered: row.get(10)?,
                bounced: row.get(11)?,
                expired: row.get(12)?,
                cancelled: row.get(13)?,
            },
            quarantined_at: at(14)?,
            closed_at: at(15)?,
            record: row.get(16)?,
        })
    }

    /// # Errors
    /// When the record does not open.
    pub fn open(self, keys: &Keys) -> Result<(MessageSummary, Stream, Source), StoreError> {
        let envelope = open_message(keys, self.account, self.key_day, self.id, &self.record)?;
        let state =
            MessageState::from_number(self.state).ok_or(StoreError::Unreadable { what: "a message's state" })?;
        let summary = MessageSummary {
            id: self.id,
            account: self.account,
            received_at: self.received_at,
            sender: envelope.sender,
            recipients: envelope.recipients,
            subject: envelope.subject,
            message_id_header: envelope.message_id_header,
            size_octets: u64::try_from(self.size_octets).unwrap_or(0),
            state,
            tally: self.tally,
            closed_at: self.closed_at,
        };
        Ok((summary, envelope.stream, envelope.source))
    }
}

#[cfg(test)]
mod tests {
    use privacy::MasterKey;

    use super::*;
    use crate::sqlite::schema_in_memory;

    /// How SQLite would find the messages.
    fn plan(connection: &Connection, account: Option<AccountId>, filter: &MessageFilter) -> String {
        let keys = Keys::new(&MasterKey::from_bytes([7; 32]));
        let after = Some(MessageId::from_bytes([9; 16]));
        let (sql, values) = statement(&keys, account, filter, after, 100);
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = explained.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn no_filter_reads_the_whole_table() {
        let connection = schema_in_memory();
        let address = Address::parse("ada@example.org").unwrap();
        let all = MessageFilter::default();
        let to = MessageFilter { recipient: Some(address.clone()), ..all.clone() };
        let from = MessageFilter { sender: Some(address), ..all.clone() };
        let failed = MessageFilter { state: Some(MessageState::Failed), ..all.clone() };
        for (filter, index) in [(&all, "message_account"), (&from, "message_sender"), (&failed, "message_state")] {
            let plan = plan(&connection, Some(AccountId(1)), filter);
            assert!(plan.contains(index) && !plan.contains("SCAN") && !plan.contains("TEMP"), "{filter:?}: {plan}");
        }
        let plan_to = plan(&connection, Some(AccountId(1)), &to);
        assert!(plan_to.contains("recipient_address") && !plan_to.contains("SCAN"), "{plan_to}");
        let plan_all = plan(&connection, None, &all);
        assert!(plan_all.contains("PRIMARY KEY") && !plan_all.contains("TEMP"), "{plan_all}");
    }
}
