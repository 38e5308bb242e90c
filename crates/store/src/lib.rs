//! The database: accounts, credentials, history, the sandbox inbox. The only SQL there is.
//!
//! [`Store`] is the seam. Behind it is an engine (SQLite now; the enum is where a second one goes),
//! and all statements are one text for both: `$1` placeholders in order, BIGINT microseconds, BLOB,
//! TEXT, INTEGER, `ON CONFLICT`, `RETURNING`. Functions are named resource_verb.
//!
//! ```text
//! callers ──> jobs (bounded) ──> writer thread ──> store.db   one transaction for all that wait
//!    └──────> readers (four connections) ────────────^        each read sees one moment
//! ```
//!
//! Invariants:
//! - What was answered is on stable storage (WAL, `synchronous=FULL`).
//! - Every call names its [`Scope`]; an object outside of it answers exactly as an absent one.
//! - Addresses, subjects, headers, replies, dialogues and captured messages are never in plaintext
//!   in the database, its WAL or a temporary file: their columns are of the type `Sealed`, which
//!   only the keys make. They are found through keyed hashes.
//! - A fact of the journal changes the history once, however often it is handed in: facts and the
//!   cursor behind them are one transaction, and what lies before the cursor is skipped.
//! - Nothing here asks the machine for the time.
//!
//! The schema, with the purpose of each column, is in `migrations/`. Sealed columns hold
//! `privacy::Sealer`'s format around postcard records (`history/record.rs`), whose first octet says
//! which version of the record it is.

mod account;
mod error;
mod history;
mod sandbox;
mod sealed;
mod setting;
mod sql;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

use base::Scope;
use privacy::MasterKey;

pub use account::{Account, Credential, DirectoryRows, NewCredential};
pub use error::StoreError;
pub use history::{
    Appended, Counter, DayCount, Event, EventKind, MessageFilter, MessageState, MessageSummary, Position,
    RecipientState, RecipientStory, Source, Story, Tally,
};
pub use sandbox::{Capture, CaptureSummary, CapturedMessage, SandboxLimits};
pub use sealed::{Day, SecretHash};

use sealed::Keys;
use sqlite::Sqlite;

/// The open database. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    keys: Arc<Keys>,
}

enum Engine {
    Sqlite(Sqlite),
}

impl Store {
    /// Opens the database file, makes it (mode 0600) if it is absent, and brings its schema up to
    /// date. Blocks: call it at start.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer version.
    pub fn open(path: &Path, master: &MasterKey) -> Result<Store, StoreError> {
        let engine = Engine::Sqlite(Sqlite::open(path)?);
        Ok(Store { shared: Arc::new(Shared { engine, keys: Arc::new(Keys::new(master)) }) })
    }

    /// Finishes what was asked for before and closes the file; later calls answer
    /// [`StoreError::Closed`]. Dropping the store instead is as safe, only later.
    pub async fn close(&self) {
        self.sqlite().close().await;
    }

    fn sqlite(&self) -> &Sqlite {
        let Engine::Sqlite(sqlite) = &self.shared.engine;
        sqlite
    }

    fn keys(&self) -> &Arc<Keys> {
        &self.shared.keys
    }
}

/// For calls that concern all accounts at once.
fn instance_only(scope: Scope) -> Result<(), StoreError> {
    if scope.only().is_some() { Err(StoreError::InstanceOnly) } else { Ok(()) }
}
