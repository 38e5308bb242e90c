//! Sealed columns and the keys behind them.
//!
//! Each value is sealed under the key of its (account, UTC day, class), so that later one destroyed
//! key makes a whole day of one account unreadable, in every backup too. A row names its key by its
//! `account` and `key_day`; the class belongs to the column. Today [`Keys`] derives that key from the
//! master key; a store of random, destructible keys takes its place behind the same three values.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base::{AccountId, Address, Secret, Timestamp};
use privacy::{KeyedHash, MasterKey, Sealer};
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::StoreError;

/// Keys in use at once: today's of the active accounts, and those of the pages people look at.
const SEALERS_MAX: usize = 4096;
const DAY_US: u64 = 86_400_000_000;

/// A value that only [`Keys`] makes: no column that must be sealed takes anything else.
pub(crate) struct Sealed(Vec<u8>);

impl ToSql for Sealed {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for Sealed {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Sealed> {
        Vec::column_result(value).map(Sealed)
    }
}

/// A UTC day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    pub fn of(at: Timestamp) -> Day {
        // The end of time is day 213,503,982: it always fits.
        Day((at.as_micros() / DAY_US) as i64)
    }
}

impl fmt::Display for Day {
    /// `2026-11-22`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        let date =
            i32::try_from(self.0).ok().and_then(|days| epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok());
        match date {
            Some(date) => date.fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// What a value is kept for: each class has its own period, so its own keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    History,
    Sandbox,
}

impl Class {
    fn label(self) -> &'static str {
        match self {
            Class::History => "history",
            Class::Sandbox => "sandbox",
        }
    }
}

/// Which key a value is sealed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyName {
    pub account: AccountId,
    pub day: Day,
    pub class: Class,
}

/// Where a value stands: moved to another row or column, it does not open.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    MessageRecord([u8; 16]),
    EventDetail(i64),
    SandboxEnvelope([u8; 16], u32),
    SandboxContent([u8; 16], u32),
}

impl Place {
    fn aad(self) -> Vec<u8> {
        let joined = |column: &str, row: &[u8]| [column.as_bytes(), b"/", row].concat();
        let capture = |message: [u8; 16], first: u32| [message.as_slice(), &first.to_be_bytes()].concat();
        match self {
            Place::MessageRecord(id) => joined("message/record", &id),
            Place::EventDetail(seq) => joined("event/detail", &seq.to_be_bytes()),
            Place::SandboxEnvelope(message, first) => joined("sandbox/envelope", &capture(message, first)),
            Place::SandboxContent(message, first) => joined("sandbox/content", &capture(message, first)),
        }
    }

    /// Its name in an error.
    fn what(self) -> &'static str {
        match self {
            Place::MessageRecord(_) => "a message's record",
            Place::EventDetail(_) => "an event's detail",
            Place::SandboxEnvelope(..) => "a captured envelope",
            Place::SandboxContent(..) => "a captured message",
        }
    }

    pub fn unreadable(self) -> StoreError {
        StoreError::Unreadable { what: self.what() }
    }
}

/// What stands in the database for a credential's secret. Comparing takes the same time however
/// much of it is right.
#[derive(Clone)]
pub struct SecretHash(pub(crate) [u8; 32]);

impl SecretHash {
    /// What no secret has but by chance: to compare with where there is none.
    pub const fn nobodys() -> SecretHash {
        SecretHash([0; 32])
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &SecretHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// All keys of the store.
pub(crate) struct Keys {
    master: MasterKey,
    addresses: KeyedHash,
    secrets: KeyedHash,
    sealers: Mutex<HashMap<KeyName, Arc<Sealer>>>,
}

impl Keys {
    pub fn new(master: &MasterKey) -> Keys {
        Keys {
            master: master.clone(),
            addresses: master.derive_hash("store/address"),
            secrets: master.derive_hash("store/credential"),
            sealers: Mutex::default(),
        }
    }

    pub fn seal(&self, key: KeyName, place: Place, text: &[u8]) -> Sealed {
        Sealed(self.sealer(key).seal(&place.aad(), text))
    }

    /// # Errors
    /// When it is damaged, stood elsewhere, or the key is another.
    pub fn open(&self, key: KeyName, place: Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.sealer(key).open(&place.aad(), &sealed.0).ok_or_else(|| place.unreadable())
    }

    /// Finds an address without keeping it: one hash for all spellings of one mailbox, and for
    /// upper and lower case, since people search so. Another account's hash is another.
    pub fn address_hash(&self, account: AccountId, address: &Address) -> [u8; 16] {
        let text = address.canonical().to_lowercase();
        self.addresses.hash(&account.0.to_be_bytes(), text.as_bytes())
    }

    pub fn secret_hash(&self, username: &str, secret: &Secret) -> SecretHash {
        SecretHash(self.secrets.full(username.as_bytes(), secret.expose_secret()))
    }

    fn sealer(&self, key: KeyName) -> Arc<Sealer> {
        // A panic elsewhere cannot leave the map half changed.
        let mut sealers = self.sealers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sealer) = sealers.get(&key) {
            return Arc::clone(sealer);
        }
        if sealers.len() >= SEALERS_MAX {
            // Deriving costs microseconds, so nothing cleverer is needed.
            sealers.clear();
        }
        let KeyName { account, day, class } = key;
        let label = format!("store/{}/account={account}/day={}", class.label(), day.0);
        let sealer = Arc::new(Sealer::new(self.master.derive(&label)));
        sealers.insert(key, Arc::clone(&sealer));
        sealer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new(&MasterKey::from_bytes([7; 32]))
    }

    #[test]
    fn a_value_opens_only_in_its_row_under_its_key() {
        let keys = keys();
        let key = KeyName { account: AccountId(1), day: Day(20_000), class: Class::History };
        let place = Place::EventDetail(5);
        let sealed = keys.seal(key, place, b"550 no such user");
        assert_eq!(keys.open(key, place, &sealed).unwrap().as_slice(), b"550 no such user");
        for other in [
            KeyName { account: AccountId(2), ..key },
            KeyName { day: Day(20_001), ..key },
            KeyName { class: Class::Sandbox, ..key },
        ] {
            assert!(keys.open(other, place, &sealed).is_err(), "{other:?} opened it");
        }
        assert!(keys.open(key, Place::EventDetail(6), &sealed).is_err());
    }

    #[test]
    fn an_address_is_found_however_it_is_written_and_only_within_its_account() {
        let keys = keys();
        let hash = |account, text: &str| keys.address_hash(AccountId(account), &Address::parse(text).unwrap());
        assert_eq!(hash(1, "Ada@MÜNCHEN.example"), hash(1, "\"ada\"@xn--mnchen-3ya.example"));
        assert_ne!(hash(1, "ada@example.org"), hash(2, "ada@example.org"));
        assert_ne!(hash(1, "ada@example.org"), hash(1, "bob@example.org"));
    }

    #[test]
    fn the_cache_of_keys_stays_small() {
        let keys = keys();
        for day in 0..2 * SEALERS_MAX as i64 {
            keys.sealer(KeyName { account: AccountId(1), day: Day(day), class: Class::History });
        }
        assert!(keys.sealers.lock().unwrap().len() <= SEALERS_MAX);
    }

    #[test]
    fn days_are_counted_in_utc() {
        assert_eq!(Day::of(Timestamp::from_secs(86_399)), Day(0));
        assert_eq!(Day::of(Timestamp::from_secs(86_400)), Day(1));
        assert_eq!(Day::of(Timestamp::from_secs(1_767_225_600)).to_string(), "2026-01-01");
        assert_eq!(Day(i64::MAX).to_string(), format!("day {}", i64::MAX));
        assert_eq!(Day(i64::from(i32::MAX)).to_string(), format!("day {}", i32::MAX));
    }
}
