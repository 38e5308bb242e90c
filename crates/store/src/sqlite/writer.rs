//! The one thread that writes. Jobs that wait together are committed together: with
//! `synchronous=FULL` a commit is a sync, so ten small changes cost as much as one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;

/// Callers beyond this wait for room.
const WAITING_MAX: usize = 256;
/// The thread gives way to those that take mail in and send it out: history may be a little late.
const NICE: i32 = 5;
/// Jobs in one transaction, so that the first of them does not wait long.
const GROUP_JOBS_MAX: usize = 64;

/// Runs inside the transaction, or is told why there is none; what it returns answers the caller
/// once the commit is known.
type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Settle + Send>;
type Settle = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

enum Order {
    Job(Job),
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
}

impl Writer {
    /// The thread ends when the writer is closed or dropped.
    pub fn start(connection: Connection) -> Result<Writer, StoreError> {
        let (orders, queue) = mpsc::channel(WAITING_MAX);
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(connection, queue))
            .map_err(|source| StoreError::Open { path: "(writer thread)".into(), source: Arc::new(source) })?;
        Ok(Writer { orders })
    }

    pub async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, waiting) = oneshot::channel();
        let job: Job = Box::new(move |begun| {
            let result = begun.and_then(|connection| in_savepoint(connection, job));
            Box::new(move |committed| {
                // A caller that went away wants no answer.
                let _ = answer.send(result.and_then(|value| committed.map(|()| value)));
            })
        });
        self.orders.send(Order::Job(job)).await.map_err(|_| StoreError::Closed)?;
        waiting.await.map_err(|_| StoreError::Closed)?
    }

    /// All that was ordered before is done.
    pub async fn close(&self) {
        let (done, waiting) = oneshot::channel();
        if self.orders.send(Order::Close(done)).await.is_ok() {
            // An error means that the thread is gone already.
            let _ = waiting.await;
        }
    }
}

fn run(connection: Connection, mut queue: mpsc::Receiver<Order>) {
    // On Linux this is of the calling thread alone. Where it is refused, all are equal.
    let _ = rustix::process::nice(NICE);
    let closed = loop {
        match queue.blocking_recv() {
            None => break None,
            Some(Order::Close(done)) => break Some(done),
            Some(Order::Job(first)) => {
                if let Some(done) = group(&connection, first, &mut queue) {
                    break Some(done);
                }
            }
        }
    };
    // Leaves one whole file behind, which is what people copy.
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(%error, "the WAL was not emptied at closing; the next start does it");
    }
    drop(connection);
    if let Some(done) = closed {
        let _ = done.send(());
    }
}

/// Commits `first` and whatever waits behind it. Gives back an order to close that was met.
fn group(connection: &Connection, first: Job, queue: &mut mpsc::Receiver<Order>) -> Option<oneshot::Sender<()>> {
    // IMMEDIATE: the lock is taken before anything is read, so that nothing fails half way.
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        let error = StoreError::from(error);
        first(Err(error.clone()))(Err(error));
        return None;
    }
    let mut settles = Vec::new();
    let mut closed = None;
    let mut next = Some(first);
    while let Some(job) = next.take() {
        settles.push(job(Ok(connection)));
        if settles.len() < GROUP_JOBS_MAX {
            match queue.try_recv() {
                Ok(Order::Job(job)) => next = Some(job),
                Ok(Order::Close(done)) => closed = Some(done),
                Err(_) => {}
            }
        }
    }
    let committed = commit(connection);
    for settle in settles {
        settle(committed.clone());
    }
    closed
}

fn commit(connection: &Connection) -> Result<(), StoreError> {
    if connection.is_autocommit() {
        return Err(rolled_back());
    }
    let committed = connection.execute_batch("COMMIT");
    if committed.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    Ok(committed?)
}

/// One job of a group fails alone: what it wrote is taken back, what the others wrote stays.
fn in_savepoint<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if connection.is_autocommit() {
        return Err(rolled_back());
    }
    connection.execute_batch("SAVEPOINT job")?;
    let result = catch_unwind(AssertUnwindSafe(|| job(connection))).unwrap_or(Err(StoreError::Panicked));
    match result {
        Ok(value) => {
            connection.execute_batch("RELEASE job")?;
            Ok(value)
        }
        // There is no savepoint to go back to when the whole transaction is gone already.
        Err(error) if connection.is_autocommit() => Err(error),
        Err(error) => {
            connection.execute_batch("ROLLBACK TO job; RELEASE job")?;
            Err(error)
        }
    }
}

/// SQLite ends a whole transaction by itself when the disk is full or fails: nothing of the group
/// is stored, and what comes behind in the group must not run outside of a transaction.
fn rolled_back() -> StoreError {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    let text = "the transaction was rolled back by a failure within it".to_owned();
    rusqlite::Error::SqliteFailure(code, Some(text)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(path: &std::path::Path) -> Writer {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        connection.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t (x INTEGER)").unwrap();
        Writer::start(connection).unwrap()
    }

    fn insert(x: i64) -> impl FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static {
        move |connection| Ok(connection.execute("INSERT INTO t VALUES ($1)", [x]).map(|_| ())?)
    }

    fn stored(path: &std::path::Path) -> Vec<i64> {
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare("SELECT x FROM t ORDER BY x").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn jobs_that_wait_together_fail_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let writer = writer(&path);
        let bad = |connection: &Connection| -> Result<(), StoreError> {
            connection.execute("INSERT INTO t VALUES (666)", [])?;
            Err(StoreError::Taken { what: "a thing" })
        };
        let panicking = |_: &Connection| -> Result<(), StoreError> { panic!("a bug, on purpose") };
        let (one, two, three, four) =
            tokio::join!(writer.write(insert(1)), writer.write(bad), writer.write(panicking), writer.write(insert(4)));
        assert!(one.is_ok() && four.is_ok());
        assert!(matches!(two, Err(StoreError::Taken { .. })));
        assert!(matches!(three, Err(StoreError::Panicked)));
        assert_eq!(stored(&path), [1, 4]);
        writer.close().await;
        assert!(matches!(writer.write(insert(5)).await, Err(StoreError::Closed)));
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_stores_nothing_and_everybody_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let writer = writer(&path);
        // What SQLite does by itself on a full disk.
        let ended = |connection: &Connection| -> Result<(), StoreError> {
            connection.execute_batch("ROLLBACK")?;
            Err(StoreError::Unavailable(std::sync::Arc::new(rusqlite::Error::QueryReturnedNoRows)))
        };
        // The first job holds the thread until all are queued, so that they are one group.
        let (go, wait) = std::sync::mpsc::channel();
        let held = move |connection: &Connection| -> Result<(), StoreError> {
            wait.recv().expect("the test sends it");
            insert(1)(connection)
        };
        let start = async {
            tokio::task::yield_now().await;
            go.send(()).unwrap();
        };
        let (one, two, three, ()) =
            tokio::join!(writer.write(held), writer.write(ended), writer.write(insert(3)), start);
        assert!(one.unwrap_err().is_temporary());
        assert!(two.is_err());
        assert!(three.unwrap_err().is_temporary());
        assert!(stored(&path).is_empty());
        writer.write(insert(7)).await.unwrap();
        assert_eq!(stored(&path), [7]);
    }

    #[tokio::test]
    async fn who_cannot_begin_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let writer = writer(&path);
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(writer.write(insert(1)).await.unwrap_err().is_temporary());
        other.execute_batch("ROLLBACK").unwrap();
        writer.write(insert(2)).await.unwrap();
        assert_eq!(stored(&path), [2]);
    }
}
