//! What all statements share.

use base::Timestamp;
use rusqlite::{CachedStatement, Connection};

use crate::StoreError;

/// Microseconds as a BIGINT. What lies behind the year 292,277 is not told apart.
pub(crate) fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

/// A size or a number as a BIGINT; none that exists is cut.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp(u64::try_from(micros).unwrap_or(0))
}

/// A prepared statement. SQLite takes `$1` for a name and numbers names as they first appear, so
/// they must first appear in order to mean what they mean to PostgreSQL.
pub(crate) fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<CachedStatement<'c>, StoreError> {
    let statement = connection.prepare_cached(sql)?;
    debug_assert!(
        (1..=statement.parameter_count()).all(|n| statement.parameter_name(n) == Some(&format!("${n}"))),
        "placeholders appear out of order: {sql}"
    );
    Ok(statement)
}
