//! The readers: a few connections, used from the runtime's blocking pool. They never wait for the
//! writer (WAL), and the writer never waits for them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Access, connect};
use crate::StoreError;

/// Reads that run at once; the others wait.
const READERS_MAX: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    /// Opened when first needed; one that was in use during a panic is not put back.
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub fn new(path: PathBuf) -> Readers {
        Readers { path, idle: Arc::default(), permits: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let path = self.path.clone();
        let task = spawn_blocking(move || {
            // Held until the work is done, even if the caller stops waiting.
            let _permit = permit;
            let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match pooled {
                Some(connection) => connection,
                None => connect(&path, Access::Read)?,
            };
            let transaction = connection.unchecked_transaction()?;
            let result = job(&transaction);
            transaction.finish()?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        task.await.unwrap_or(Err(StoreError::Panicked))
    }

    /// Waits for the reads that run; later ones are refused.
    pub async fn close(&self) {
        // Closed already: nobody reads.
        let all = self.permits.acquire_many(READERS_MAX as u32).await;
        self.permits.close();
        drop(all);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
