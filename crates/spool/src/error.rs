//! What can go wrong, and whose fault it is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base::MessageId;

/// Why the spool did not do what it was asked. All but [`SpoolError::TooLarge`],
/// [`SpoolError::Damaged`] and [`SpoolError::Gone`] are temporary for the client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// No space on the disk (ENOSPC, EDQUOT, EFBIG). Heals by itself when there is space again: 452.
    #[error("the spool's disk is full; free space and acceptance resumes by itself")]
    Full,
    /// An earlier sync failed, or the spool is shut down: nothing new is accepted. 451.
    #[error("the spool accepts no new mail: {0}; check the disk, then restart the server")]
    ReadOnly(Arc<str>),
    /// The disk failed now; the message is not stored, or may not be. 451.
    #[error("the spool could not store: {0}")]
    Failed(Arc<str>),
    /// The message is longer than `message_octets_max`, or its envelope than a segment can hold. 552.
    #[error("the message is too large for the spool")]
    TooLarge,
    /// What is on disk is not what was written; it must be quarantined, never sent.
    #[error("message {message} is damaged on disk: {what}")]
    Damaged { message: MessageId, what: &'static str },
    /// The message is closed, or was never here.
    #[error("the message is no longer in the spool")]
    Gone,
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> SpoolError {
        if is_full(&error) { SpoolError::Full } else { SpoolError::Failed(error.to_string().into()) }
    }
}

/// Whether an error says that there is no room: it may be gone when space is made.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Why the spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process owns the spool {0}; stop it first")]
    InUse(PathBuf),
    #[error("the spool {0} belongs to another user; give it to the user that runs the server")]
    Owner(PathBuf),
    #[error("the master key does not open {file}; start with the key that the spool was made with")]
    WrongKey { file: String },
    #[error("{file} was written by a newer program ({what}); start that one")]
    Version { file: String, what: &'static str },
    #[error("cannot read or write {file}: {error}")]
    Io { file: String, error: io::Error },
    #[error("an option has a value that cannot be: {0}")]
    Options(&'static str),
}

impl OpenError {
    pub(crate) fn io(file: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
        let file = file.into();
        move |error| OpenError::Io { file, error }
    }
}
