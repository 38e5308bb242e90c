//! A projector that is killed at any moment and begins again at the cursor it finds.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Fact, Recorded};
use store::{Counter, Day, Position, Store};

use crate::kit::{ADA, at, attempt, deferred, delivered, id, meta, open, operator};

const CHILD: &str = "POSTRIDER_TEST_CRASH_CHILD";
const MESSAGES: i64 = 3000;
const FACTS_PER_MESSAGE: i64 = 4;
const BATCH: i64 = 64;

/// The journal of this test: fact `position` of it, from 1.
fn fact(position: i64) -> (Position, Recorded) {
    let number = ((position - 1) / FACTS_PER_MESSAGE) as u64;
    let fact = match (position - 1) % FACTS_PER_MESSAGE {
        0 => Fact::Accepted(meta(number, ADA, &["x@one.example"])),
        1 => Fact::Attempted(attempt(1, at(number), &[(0, deferred())])),
        2 => Fact::Attempted(attempt(2, at(number), &[(0, delivered())])),
        _ => Fact::Closed { at: at(number) },
    };
    (Position(0, position), Recorded { message: id(number), fact, carried: false })
}

/// Applies from the cursor on. Each batch begins earlier than it need, as if answers had been lost.
async fn project(store: &Store) {
    loop {
        let Position(_, done) = store.history_cursor(operator()).await.unwrap();
        if done == MESSAGES * FACTS_PER_MESSAGE {
            return;
        }
        let first = (done - 10).max(1);
        let last = (done + BATCH).min(MESSAGES * FACTS_PER_MESSAGE);
        let batch = (first..=last).map(fact).collect();
        store.history_append(operator(), Arc::new(batch), Position(0, last)).await.unwrap();
    }
}

fn start(directory: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::a_killed_projector_applies_each_fact_once", "--exact", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// How far the child is; it is asked through another connection, as another process.
async fn cursor(store: &Store) -> i64 {
    store.history_cursor(operator()).await.unwrap().1
}

#[tokio::test]
async fn a_killed_projector_applies_each_fact_once() {
    // Started by the test itself, this is the projector that is killed.
    if let Some(directory) = std::env::var_os(CHILD) {
        return project(&open(Path::new(&directory))).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut kills = 0;
    for part in 1..=8 {
        let mut child = start(directory.path());
        let until = MESSAGES * FACTS_PER_MESSAGE * part / 9;
        let deadline = Instant::now() + Duration::from_secs(60);
        while cursor(&store).await < until {
            assert!(Instant::now() < deadline, "the child does not get on");
            tokio::task::yield_now().await;
        }
        child.kill().unwrap();
        kills += i32::from(!child.wait().unwrap().success());
    }
    assert!(kills > 0, "no child was killed in its work");
    assert!(cursor(&store).await < MESSAGES * FACTS_PER_MESSAGE, "some work is left for the end");
    project(&store).await;

    let counts = store.stats(operator(), Day(0), Day(i64::MAX)).await.unwrap();
    let sum = |counter| counts.iter().filter(|c| c.counter == counter).map(|c| c.number).sum::<i64>();
    let counters = [Counter::Messages, Counter::Attempts, Counter::Deferred, Counter::Delivered];
    assert_eq!(counters.map(sum), [MESSAGES, 2 * MESSAGES, MESSAGES, MESSAGES]);
    for number in (0..MESSAGES as u64).step_by(7) {
        let story = store.message_show(operator(), id(number)).await.unwrap().unwrap();
        let numbers: Vec<_> = story.events.iter().map(|event| event.seq).collect();
        let first = number as i64 * 3 + 1;
        assert_eq!(numbers, [first, first + 1, first + 2], "events of message {number}");
        assert_eq!((story.recipients[0].attempts, story.summary.closed_at), (2, Some(at(number))));
    }
}
