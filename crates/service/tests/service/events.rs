use std::sync::Arc;

use base::{Fact, MessageId, SystemClock};
use service::events::Projector;
use spool::Spool;
use store::{Counter, Day, MessageState, Position, Store};

use crate::kit::{ADA, NEW_YEAR, accept, delivered, open_spool, open_store, operator, until};

fn project(spool: &Spool, store: &Store) -> Projector {
    Projector::start(spool.clone(), store.clone(), Arc::new(SystemClock)).unwrap()
}

async fn state(store: &Store, id: MessageId) -> Option<MessageState> {
    store.message_show(operator(), id).await.unwrap().map(|story| story.summary.state)
}

async fn number(store: &Store, counter: Counter) -> i64 {
    let counts = store.stats(operator(), Day(0), Day(i64::MAX)).await.unwrap();
    counts.iter().filter(|count| count.counter == counter).map(|count| count.number).sum()
}

/// Delivers and closes it, as the runner does.
fn deliver(spool: &Spool, id: MessageId) {
    spool.record(id, &Fact::Attempted(delivered(1))).unwrap();
    spool.close(id, NEW_YEAR).unwrap();
}

#[tokio::test]
async fn what_happens_becomes_history() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, store) = (open_spool(directory.path()), open_store(directory.path()));
    let projector = project(&spool, &store);
    let id = accept(&spool, &["x@one.example"]).await;
    until("the message is queued", async || state(&store, id).await == Some(MessageState::Queued)).await;
    deliver(&spool, id);
    until("the message is closed", async || {
        let story = store.message_show(operator(), id).await.unwrap().unwrap();
        story.summary.closed_at.is_some()
    })
    .await;
    let progress = projector.progress();
    projector.stop().await;
    let story = store.message_show(operator(), id).await.unwrap().unwrap();
    assert_eq!(story.summary.account, ADA);
    assert_eq!(story.summary.state, MessageState::Delivered);
    assert_eq!(story.events.last().unwrap().attempt.as_deref(), Some(&delivered(1)));
    assert_eq!((progress.facts(), progress.is_stalled(), progress.lag().is_zero()), (3, false, true));
}

#[tokio::test]
async fn after_a_restart_it_goes_on_where_it_stood() {
    let directory = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for round in 1..=3 {
        // Both are opened anew, as after the end of the process; some facts wait already.
        let (spool, store) = (open_spool(directory.path()), open_store(directory.path()));
        ids.push(accept(&spool, &["x@one.example"]).await);
        let projector = project(&spool, &store);
        for _ in 0..20 {
            let id = accept(&spool, &["x@one.example"]).await;
            deliver(&spool, id);
            ids.push(id);
        }
        until("all is history", async || number(&store, Counter::Delivered).await == 20 * round).await;
        projector.stop().await;
        spool.shutdown();
        store.close().await;
    }
    let store = open_store(directory.path());
    assert_eq!(number(&store, Counter::Messages).await, 63);
    assert_eq!(number(&store, Counter::Delivered).await, 60);
    for id in ids {
        assert!(state(&store, id).await.is_some());
    }
}

#[tokio::test]
async fn while_the_database_fails_mail_goes_on_and_history_follows() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, store) = (open_spool(directory.path()), open_store(directory.path()));
    let projector = project(&spool, &store);
    let progress = projector.progress();
    let before = accept(&spool, &["x@one.example"]).await;
    until("the first message is history", async || state(&store, before).await.is_some()).await;

    // Somebody breaks the database under it.
    let vandal = rusqlite::Connection::open(directory.path().join("store.db")).unwrap();
    vandal.execute_batch("ALTER TABLE event RENAME TO lost").unwrap();
    let meanwhile = accept(&spool, &["x@one.example"]).await;
    deliver(&spool, meanwhile);
    until("the projector is stalled", async || progress.is_stalled()).await;
    let also = accept(&spool, &["x@one.example"]).await;
    assert_eq!(number(&store, Counter::Messages).await, 1, "nothing is half written");

    vandal.execute_batch("ALTER TABLE lost RENAME TO event").unwrap();
    until("history has followed", async || state(&store, also).await.is_some()).await;
    projector.stop().await;
    assert!(!progress.is_stalled());
    assert_eq!(state(&store, meanwhile).await, Some(MessageState::Delivered));
    assert_eq!(number(&store, Counter::Messages).await, 3);
    assert_eq!(number(&store, Counter::Delivered).await, 1);
}

#[tokio::test]
async fn a_stalled_projector_stops_at_once_and_the_next_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, store) = (open_spool(directory.path()), open_store(directory.path()));
    let vandal = rusqlite::Connection::open(directory.path().join("store.db")).unwrap();
    vandal.execute_batch("ALTER TABLE event RENAME TO lost").unwrap();
    let projector = project(&spool, &store);
    let progress = projector.progress();
    let id = accept(&spool, &["x@one.example"]).await;
    until("the projector is stalled", async || progress.is_stalled()).await;
    projector.stop().await;
    vandal.execute_batch("ALTER TABLE lost RENAME TO event").unwrap();
    let projector = project(&spool, &store);
    until("history has followed", async || state(&store, id).await.is_some()).await;
    projector.stop().await;
}

#[tokio::test]
async fn stopping_applies_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, store) = (open_spool(directory.path()), open_store(directory.path()));
    let projector = project(&spool, &store);
    let mut last = accept(&spool, &["x@one.example"]).await;
    for _ in 0..50 {
        last = accept(&spool, &["x@one.example"]).await;
    }
    // Each is on stable storage, since it was acknowledged.
    projector.stop().await;
    assert_eq!(state(&store, last).await, Some(MessageState::Queued));
    assert_eq!(number(&store, Counter::Messages).await, 51);
}

#[tokio::test]
async fn a_new_spool_under_an_old_history_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, store) = (open_spool(directory.path()), open_store(directory.path()));
    store.history_append(operator(), Arc::default(), Position(4000, 100)).await.unwrap();
    let projector = project(&spool, &store);
    let id = accept(&spool, &["x@one.example"]).await;
    until("the message is history", async || state(&store, id).await.is_some()).await;
    projector.stop().await;
    assert!(store.history_cursor(operator()).await.unwrap() < Position(4000, 0));
}

#[tokio::test]
async fn the_spool_gives_back_what_became_history() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, store) = (open_spool(directory.path()), open_store(directory.path()));
    let projector = project(&spool, &store);
    for _ in 0..400 {
        let id = accept(&spool, &["x@one.example"]).await;
        deliver(&spool, id);
    }
    until("a segment is given back", async || spool.stats().segments_recycled > 0).await;
    until("all is history", async || number(&store, Counter::Delivered).await == 400).await;
    projector.stop().await;
}
