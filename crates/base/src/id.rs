//! Identifiers. A message's is drawn by us, never by the client, and grows with time (UUID v7),
//! so that tables and files keyed by it stay in order of arrival.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One accepted message, whatever the number of its recipients.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// An id for a message that arrived `unix_ms` milliseconds after 1970, with `random` bits from
    /// the caller's generator (RFC 9562 §5.7).
    pub fn new(unix_ms: u64, random: [u8; 10]) -> MessageId {
        MessageId(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> MessageId {
        MessageId(Uuid::from_bytes(bytes))
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no message id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message id looks like 0190c1d2-3e4f-7a5b-8c6d-7e8f90a1b2c3")]
pub struct MessageIdError;

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<MessageId, MessageIdError> {
        Uuid::try_parse(text).map(MessageId).map_err(|_| MessageIdError)
    }
}

/// One tenant: whose mail it is. Numbers are given by the store, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub i64);

impl AccountId {
    /// The instance itself: the owner of mail that no customer sent, such as reports about reports.
    pub const INSTANCE: AccountId = AccountId(0);
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One SMTP credential of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialId(pub i64);

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let early = MessageId::new(1_000, [0xff; 10]);
        let late = MessageId::new(1_001, [0; 10]);
        assert!(early < late);
        assert_eq!(early.to_string().parse::<MessageId>(), Ok(early));
        assert_eq!("nonsense".parse::<MessageId>(), Err(MessageIdError));
    }
}
