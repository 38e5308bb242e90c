//! Messages that are read from the spool, whole or piece by piece.

use std::path::Path;
use std::sync::Arc;

use base::{AccountId, Meta, SystemClock};
use deliver::agent::{BodySource, Task};
use privacy::MasterKey;
use spool::{Options, Spool, SpoolError};

use crate::mx::{Mx, Peer};
use crate::world::*;

fn spool(dir: &Path) -> Spool {
    let options = Options { dir: dir.to_owned(), segment_octets: 1 << 20, ..Options::default() };
    Spool::open(options, &MasterKey::from_bytes([1; 32]), Arc::new(SystemClock)).expect("the spool opens").0
}

/// The task of [`task_of`], with its content in the spool and nowhere else.
async fn stored(spool: &Spool, recipients: &[&str], content: &[u8]) -> Task {
    let task = task_of(recipients, content);
    let mut draft = spool.draft(AccountId(1));
    draft.write(content).expect("there is room");
    let stored = draft.commit(Meta::clone(&task.meta)).await.expect("it is stored");
    let body = BodySource::Spool { spool: spool.clone(), id: stored.meta.id };
    Task { body, meta: stored.meta, ..task }
}

fn lines(octets: usize) -> Vec<u8> {
    b"0123456789012345678901234567890123456789012345678901234567890123\r\n"
        .iter()
        .copied()
        .cycle()
        .take(octets)
        .collect()
}

#[tokio::test]
async fn short_and_long_ones_arrive_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = spool(dir.path());
    for octets in [66, 66_000, 6_600_000] {
        let content = lines(octets);
        let mx = Mx::good(&["PIPELINING", "LIMITS RCPTMAX=1"]).await;
        let task = stored(&spool, &["a@there", "b@there"], &content).await;
        let report = attempt(&agent(), &plan(&[mx.address]), task).await;
        assert_eq!(outcomes(&report), [(0, DELIVERED, 250), (1, DELIVERED, 250)]);
        let received = mx.received();
        assert_eq!(received.len(), 2, "and it is read once for each");
        assert!(received.iter().all(|received| received.content == content));
    }
}

#[tokio::test]
async fn a_long_one_is_converted_for_an_old_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = spool(dir.path());
    let header =
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
    let content = format!("{header}{}", "Grüße\r\n".repeat(40_000)).into_bytes();
    let mx = Mx::good(&[]).await;
    let task = stored(&spool, &["a@there"], &content).await;
    let report = attempt(&agent(), &plan(&[mx.address]), task).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
    assert!(mx.received()[0].content.is_ascii());
}

#[tokio::test]
async fn one_that_is_not_there_is_not_spoken_about() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = spool(dir.path());
    let task = stored(&spool, &["a@there"], MESSAGE).await;
    spool.close(task.meta.id, base::Timestamp(1)).expect("it is closed");
    let mx = Mx::good(&[]).await;
    let error = agent().attempt(&plan(&[mx.address]), task, None).await.expect_err("it is gone");
    assert!(matches!(error, SpoolError::Gone), "{error}");
    assert_eq!(mx.connections(), 0);
}

#[tokio::test]
async fn one_that_is_damaged_in_the_middle_has_no_final_dot() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = spool(dir.path());
    let task = stored(&spool, &["a@there"], &lines(1_000_000)).await;
    damage_the_last_octet(dir.path());
    let mx = Mx::start(async |mut peer: Peer| {
        peer.greets(&["PIPELINING"]).await;
        for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            peer.line().await;
            peer.says(reply).await;
        }
        peer.waits_for_the_end().await;
    })
    .await;
    let error = agent().attempt(&plan(&[mx.address]), task, None).await.expect_err("it is damaged");
    assert!(matches!(error, SpoolError::Damaged { .. }), "{error}");
}

/// Of the one file that is neither a segment nor small: the long body.
fn damage_the_last_octet(dir: &Path) {
    let mut damaged = 0;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
            let octets = entry.metadata().expect("a file").len();
            if entry.path().is_dir() {
                dirs.push(entry.path());
            } else if (1_000_000..1 << 20).contains(&octets) {
                let mut content = std::fs::read(entry.path()).expect("it reads");
                *content.last_mut().expect("it is not empty") ^= 1;
                std::fs::write(entry.path(), content).expect("it writes");
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 1);
}
