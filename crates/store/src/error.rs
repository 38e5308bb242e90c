//! Why the store could not answer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// Why the store could not do it. A missing object is no error but `None`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The build is wrong: SQLite is bundled, so this never happens with ours.
    #[error("SQLite {found} is too old: before 3.51.3 a database with several connections could be damaged")]
    SqliteTooOld { found: &'static str },
    /// The operator's: an older program was started on a newer database.
    #[error(
        "the database {path} was written by a newer version (its schema is {found}, this program knows {known}): \
         start the newer version, or restore the backup made before the upgrade"
    )]
    SchemaNewer { path: PathBuf, found: i64, known: i64 },
    /// The operator's: path or permissions.
    #[error("cannot open the database {path}: {source}")]
    Open { path: PathBuf, source: Arc<io::Error> },
    /// The machine's: busy, full, or the disk fails. The same call may succeed later.
    #[error("the database cannot be used now: {0}")]
    Unavailable(#[source] Arc<rusqlite::Error>),
    /// The file is damaged: restore a backup.
    #[error("the database file is damaged, restore a backup: {0}")]
    Corrupt(#[source] Arc<rusqlite::Error>),
    /// One value is damaged, was moved, or was sealed under another master key.
    #[error(
        "{what} in the database cannot be read: it is damaged, or the master key is not the one it was sealed with"
    )]
    Unreadable { what: &'static str },
    /// The caller's: a name that must be unique is taken.
    #[error("there is already {what} of that name")]
    Taken { what: &'static str },
    /// The caller's: this call concerns the whole instance and was made for one account.
    #[error("this needs the scope of the whole instance")]
    InstanceOnly,
    /// Ours.
    #[error("the database refused what we asked, which is a bug: {0}")]
    Refused(#[source] Arc<rusqlite::Error>),
    /// Ours: a panic, answered as an error.
    #[error("a call of the store ended in a panic, which is a bug")]
    Panicked,
    /// The store was closed while the call waited.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, StoreError::Unavailable(_))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let code = error.sqlite_error_code();
        let error = Arc::new(error);
        match code {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed,
            ) => StoreError::Unavailable(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(error),
            _ => StoreError::Refused(error),
        }
    }
}
