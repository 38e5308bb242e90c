//! The sandbox inbox: what was captured instead of sent.

use std::sync::Arc;

use base::{AccountId, Address, MessageId, Meta, Scope, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use crate::sealed::{Class, KeyName, Keys, Place, Sealed};
use crate::sql::{micros, prepare, timestamp};
use crate::{Day, Store, StoreError};

/// How much one account's inbox holds; the oldest go.
#[derive(Debug, Clone, Copy)]
pub struct SandboxLimits {
    pub messages_max: u32,
    /// Of a message that is larger than this alone, only the envelope is kept.
    pub octets_max: u64,
}

impl Default for SandboxLimits {
    fn default() -> SandboxLimits {
        SandboxLimits { messages_max: 1000, octets_max: 256 << 20 }
    }
}

/// A message to keep.
#[derive(Debug, Clone)]
pub struct Capture<B> {
    pub meta: Arc<Meta>,
    /// Which of the envelope's recipients, by position.
    pub recipients: Vec<u32>,
    /// The bytes that would have left.
    pub content: B,
    pub at: Timestamp,
}

/// A captured message in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Grows in the order of arrival.
    pub id: i64,
    pub account: AccountId,
    pub message: MessageId,
    pub captured_at: Timestamp,
    pub size_octets: u64,
    pub sender: Option<Address>,
    pub recipients: Vec<Address>,
    pub subject: Option<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedMessage {
    pub summary: CaptureSummary,
    /// `None`: it alone was over the limit of the inbox.
    pub content: Option<Vec<u8>>,
}

/// `sandbox.envelope`; a new version is a new variant at the end.
#[derive(Serialize, Deserialize)]
enum EnvelopeRecord<'a> {
    V1 {
        sender: Option<&'a str>,
        #[serde(borrow)]
        recipients: Vec<&'a str>,
        subject: Option<&'a str>,
    },
}

/// The longest page that is given. Contents are not part of it.
const PAGE_MAX: u32 = 1000;
const SUMMARY: &str = "id, account, message, recipient_first, captured_at, key_day, size_octets, envelope";

impl Store {
    /// Keeps a message and lets the oldest of its account go. The same recipients of the same
    /// message replace what was there.
    pub async fn sandbox_add<B: AsRef<[u8]> + Send + 'static>(
        &self,
        scope: Scope,
        capture: Capture<B>,
        limits: SandboxLimits,
    ) -> Result<(), StoreError> {
        crate::instance_only(scope)?;
        let keys = Arc::clone(self.keys());
        // Sealing megabytes takes a while: it is done before the writer is asked.
        let sealed = tokio::task::spawn_blocking(move || SealedCapture::new(&keys, &capture, limits));
        let sealed = sealed.await.map_err(|_| StoreError::Panicked)?;
        self.sqlite()
            .write(move |connection| {
                sealed.insert(connection)?;
                evict(connection, sealed.account, limits)
            })
            .await
    }

    /// Newest first, at most `limit` (1,000 at most). The next page begins `after` the last one's id.
    pub async fn sandbox_list(
        &self,
        scope: Scope,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<CaptureSummary>, StoreError> {
        let keys = Arc::clone(self.keys());
        self.sqlite()
            .read(move |connection| {
                let sql = format!(
                    "SELECT {SUMMARY} FROM sandbox WHERE ($1 IS NULL OR account = $1) AND id < $2 \
                     ORDER BY id DESC LIMIT $3"
                );
                let mut statement = prepare(connection, &sql)?;
                let only = scope.only().map(|account| account.0);
                let mut rows = statement.query((only, after.unwrap_or(i64::MAX), limit.min(PAGE_MAX)))?;
                let mut list = Vec::new();
                while let Some(row) = rows.next()? {
                    list.push(summary(&keys, row)?);
                }
                Ok(list)
            })
            .await
    }

    /// `None`: there is no such captured message in scope.
    pub async fn sandbox_show(&self, scope: Scope, id: i64) -> Result<Option<CapturedMessage>, StoreError> {
        let keys = Arc::clone(self.keys());
        self.sqlite()
            .read(move |connection| {
                let sql =
                    format!("SELECT {SUMMARY}, content FROM sandbox WHERE id = $1 AND ($2 IS NULL OR account = $2)");
                let mut statement = prepare(connection, &sql)?;
                let mut rows = statement.query((id, scope.only().map(|account| account.0)))?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let summary = summary(&keys, row)?;
                let place = Place::SandboxContent(*summary.message.as_bytes(), row.get("recipient_first")?);
                let key = key(summary.account, Day(row.get("key_day")?));
                let content = match row.get::<_, Option<Sealed>>("content")? {
                    Some(sealed) => Some(keys.open(key, place, &sealed)?.to_vec()),
                    None => None,
                };
                Ok(Some(CapturedMessage { summary, content }))
            })
            .await
    }

    /// Empties the inboxes in scope; answers how many messages went.
    pub async fn sandbox_clear(&self, scope: Scope) -> Result<usize, StoreError> {
        self.sqlite()
            .write(move |connection| {
                let sql = "DELETE FROM sandbox WHERE $1 IS NULL OR account = $1";
                Ok(prepare(connection, sql)?.execute([scope.only().map(|account| account.0)])?)
            })
            .await
    }
}

fn key(account: AccountId, day: Day) -> KeyName {
    KeyName { account, day, class: Class::Sandbox }
}

struct SealedCapture {
    account: AccountId,
    message: MessageId,
    recipient_first: u32,
    captured_at: Timestamp,
    day: Day,
    size_octets: i64,
    envelope: Sealed,
    content: Option<Sealed>,
}

impl SealedCapture {
    fn new<B: AsRef<[u8]>>(keys: &Keys, capture: &Capture<B>, limits: SandboxLimits) -> SealedCapture {
        let Capture { meta, recipients, content, at } = capture;
        let content = content.as_ref();
        let address = |position: &u32| {
            meta.envelope.recipients.get(*position as usize).map(|recipient| recipient.address.as_str())
        };
        let record = EnvelopeRecord::V1 {
            sender: meta.envelope.sender.as_ref().map(Address::as_str),
            recipients: recipients.iter().filter_map(address).collect(),
            subject: meta.subject.as_deref(),
        };
        // Postcard writes into memory and knows these types: it cannot fail.
        let record = postcard::to_stdvec(&record).expect("a record of plain fields can be encoded");
        let recipient_first = recipients.iter().copied().min().unwrap_or(0);
        let day = Day::of(*at);
        let key = key(meta.account, day);
        let message = *meta.id.as_bytes();
        let fits = content.len() as u64 <= limits.octets_max;
        SealedCapture {
            account: meta.account,
            message: meta.id,
            recipient_first,
            captured_at: *at,
            day,
            size_octets: if fits { content.len() as i64 } else { 0 },
            envelope: keys.seal(key, Place::SandboxEnvelope(message, recipient_first), &record),
            content: fits.then(|| keys.seal(key, Place::SandboxContent(message, recipient_first), content)),
        }
    }

    fn insert(&self, connection: &Connection) -> Result<(), StoreError> {
        let sql = "INSERT INTO sandbox \
                   (account, message, recipient_first, captured_at, key_day, size_octets, envelope, content) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                   ON CONFLICT (message, recipient_first) DO UPDATE SET captured_at = excluded.captured_at, \
                   key_day = excluded.key_day, size_octets = excluded.size_octets, envelope = excluded.envelope, \
                   content = excluded.content";
        prepare(connection, sql)?.execute((
            self.account.0,
            self.message.as_bytes(),
            self.recipient_first,
            micros(self.captured_at),
            self.day.0,
            self.size_octets,
            &self.envelope,
            &self.content,
        ))?;
        Ok(())
    }
}

/// Deletes the oldest until both limits hold.
fn evict(connection: &Connection, account: AccountId, limits: SandboxLimits) -> Result<(), StoreError> {
    // The first, from the newest on, with which a limit is passed; it and all older ones go.
    let sql = "SELECT id FROM (\
               SELECT id, ROW_NUMBER() OVER newest AS number, SUM(size_octets) OVER newest AS octets \
               FROM sandbox WHERE account = $1 WINDOW newest AS (ORDER BY id DESC)\
               ) AS inbox WHERE number > $2 OR octets > $3 ORDER BY id DESC LIMIT 1";
    let octets_max = i64::try_from(limits.octets_max).unwrap_or(i64::MAX);
    let passed: Option<i64> = prepare(connection, sql)?
        .query_row((account.0, limits.messages_max, octets_max), |row| row.get(0))
        .optional()?;
    if let Some(passed) = passed {
        prepare(connection, "DELETE FROM sandbox WHERE account = $1 AND id <= $2")?.execute((account.0, passed))?;
    }
    Ok(())
}

fn summary(keys: &Keys, row: &Row<'_>) -> Result<CaptureSummary, StoreError> {
    let account = AccountId(row.get("account")?);
    let message: [u8; 16] = row.get("message")?;
    let place = Place::SandboxEnvelope(message, row.get("recipient_first")?);
    let sealed: Sealed = row.get("envelope")?;
    let text = keys.open(key(account, Day(row.get("key_day")?)), place, &sealed)?;
    let EnvelopeRecord::V1 { sender, recipients, subject } =
        postcard::from_bytes(&text).map_err(|_| place.unreadable())?;
    let address = |text: &str| Address::parse(text).map_err(|_| place.unreadable());
    Ok(CaptureSummary {
        id: row.get("id")?,
        account,
        message: MessageId::from_bytes(message),
        captured_at: timestamp(row.get("captured_at")?),
        size_octets: u64::try_from(row.get::<_, i64>("size_octets")?).unwrap_or(0),
        sender: sender.map(address).transpose()?,
        recipients: recipients.into_iter().map(address).collect::<Result<_, _>>()?,
        subject: subject.map(Into::into),
    })
}
