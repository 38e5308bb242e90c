//! The SQLite engine: one file, one writer thread, a few readers.

mod migrate;
mod reader;
mod writer;

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;
use reader::Readers;
use writer::Writer;

/// 3.7.0 to 3.51.2 can damage a WAL database that has several connections (the WAL-reset bug).
const VERSION_MIN: i32 = 3_051_003;
/// Another process (`sqlite3`, a second start) may hold the lock for as long.
const BUSY_WAIT: Duration = Duration::from_secs(5);
const WRITER_CACHE_KIB: i32 = 8 * 1024;
const READER_CACHE_KIB: i32 = 2 * 1024;
const STATEMENTS_CACHED: usize = 64;

pub(crate) struct Sqlite {
    writer: Writer,
    readers: Readers,
}

impl Sqlite {
    /// Opens the file, makes it if it is absent, and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Sqlite, StoreError> {
        version_check(rusqlite::version_number(), rusqlite::version())?;
        make_private(path).map_err(|source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) })?;
        let mut connection = connect(path, Access::Write)?;
        migrate::to_latest(&mut connection, path)?;
        Ok(Sqlite { writer: Writer::start(connection)?, readers: Readers::new(path.to_owned()) })
    }

    /// Runs `job` on the writer thread and answers once it is on stable storage. Jobs that wait
    /// together share one transaction, but each fails alone. The job runs to its end even if the
    /// caller stops waiting.
    pub async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(job).await
    }

    /// Runs `job` on a connection that cannot write; all it reads is of one moment.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(job).await
    }

    /// Finishes the jobs that wait, empties the WAL into the database and closes it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn version_check(number: i32, name: &'static str) -> Result<(), StoreError> {
    if number < VERSION_MIN { Err(StoreError::SqliteTooOld { found: name }) } else { Ok(()) }
}

/// Nobody but the owner reads the database. SQLite gives `-wal` and `-shm` the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

fn connect(path: &Path, access: Access) -> Result<Connection, StoreError> {
    let (flags, cache_kib) = match access {
        Access::Write => (OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB),
        // A reader of a WAL database writes its `-shm` file, so it is kept from writing by a pragma.
        Access::Read => (OpenFlags::SQLITE_OPEN_READ_WRITE, READER_CACHE_KIB),
    };
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    // What spills goes to memory: no temporary file ever holds a row.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    match access {
        Access::Write => {
            // Takes effect only before the first table is made.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
            // Synced at each commit: the projector tells the spool that it may forget.
            connection.pragma_update(None, "synchronous", "FULL")?;
            // Deleted content is overwritten with zeros.
            connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
            connection.pragma_update_and_check(None, "wal_autocheckpoint", 4000, |_| Ok(()))?;
            connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
        }
        Access::Read => connection.pragma_update(None, "query_only", true)?,
    }
    Ok(connection)
}

/// The latest schema, for tests of statements.
#[cfg(test)]
pub(crate) fn schema_in_memory() -> Connection {
    let mut connection = Connection::open_in_memory().expect("memory is there");
    migrate::to_latest(&mut connection, Path::new("memory")).expect("the schema is right");
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sqlite_is_refused() {
        assert!(version_check(3_054_001, "3.54.1").is_ok());
        assert!(version_check(3_051_003, "3.51.3").is_ok());
        let error = version_check(3_051_002, "3.51.2").unwrap_err().to_string();
        assert!(error.contains("3.51.2") && error.contains("3.51.3"), "{error}");
    }

    #[test]
    fn the_safety_settings_are_really_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        make_private(&path).unwrap();
        let connection = connect(&path, Access::Write).unwrap();
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("synchronous"), 2, "FULL");
        assert_eq!(number("secure_delete"), 1);
        assert_eq!(number("temp_store"), 2, "memory");
        assert_eq!(number("foreign_keys"), 1);
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        let reader = connect(&path, Access::Read).unwrap();
        assert!(reader.execute_batch("CREATE TABLE t (x)").is_err(), "a reader wrote");
    }

    #[test]
    fn an_open_mode_is_corrected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        std::fs::write(&path, b"").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        make_private(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
