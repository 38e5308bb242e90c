//! A spool on a real directory: what goes in comes back, what is closed does not.

use crate::common::*;
use base::{Fact, Timestamp};
use spool::{Cursor, SpoolError};

#[tokio::test]
async fn an_accepted_message_survives_a_restart_with_its_progress() {
    let dir = tempfile::tempdir().unwrap();
    let bodies: Vec<Vec<u8>> = [0, 1, 4096, 8000, 9000, 70_000, 200_000].map(body_of).to_vec();
    let mut ids = Vec::new();
    {
        let (spool, recovered) = open(small(dir.path()));
        assert!(recovered.messages.is_empty() && recovered.damage.is_empty());
        for body in &bodies {
            let stored = accept(&spool, body).await;
            if let Some(kept) = &stored.body {
                assert_eq!(kept, body);
            }
            assert_eq!(stored.meta.account, ACCOUNT);
            ids.push(stored.meta.id);
        }
        spool.record_synced(ids[1], &attempted(1, &[delivered(0), deferred(1, 99)])).await.unwrap();
        spool
            .record(ids[2], &Fact::Held { at: Timestamp(1), reason: "look first".into(), recipients: vec![0] })
            .unwrap();
        spool.close(ids[3], Timestamp(2)).unwrap();
        assert!(matches!(spool.body(ids[3]), Err(SpoolError::Gone)));
        assert_eq!(spool.meta(ids[3]).unwrap(), None);
        for (id, body) in ids.iter().zip(&bodies).filter(|(id, _)| **id != ids[3]) {
            assert_eq!(&read_body(&spool, *id).unwrap(), body);
        }
        spool.shutdown();
    }
    let (spool, recovered) = open(small(dir.path()));
    assert_eq!((recovered.damage, recovered.torn), (vec![], 0));
    let waiting: Vec<_> = recovered.messages.iter().map(|message| message.meta.id).collect();
    let expected: Vec<_> = ids.iter().copied().filter(|id| *id != ids[3]).collect();
    assert_eq!(waiting, expected);
    assert_eq!(recovered.messages[1].attempts, 1);
    assert!(recovered.messages[1].recipients[0].as_ref().unwrap().outcome.is_final());
    assert!(!recovered.messages[1].recipients[1].as_ref().unwrap().outcome.is_final());
    assert_eq!(recovered.messages[2].held, [0]);
    for (id, body) in ids.iter().zip(&bodies).filter(|(id, _)| **id != ids[3]) {
        assert_eq!(&read_body(&spool, *id).unwrap(), body);
        assert_eq!(spool.meta(*id).unwrap().unwrap().account, ACCOUNT);
    }
}

#[tokio::test]
async fn the_journal_tells_everything_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()));
    let mut expected = Vec::new();
    // Enough for several segments.
    for number in 0..60 {
        let stored = accept(&spool, &body_of(3000)).await;
        let id = stored.meta.id;
        expected.push((id, "accepted"));
        spool.record(id, &attempted(number + 1, &[delivered(0)])).unwrap();
        expected.push((id, "attempted"));
        if number % 3 == 0 {
            spool.record_synced(id, &Fact::Closed { at: Timestamp(3) }).await.unwrap();
            expected.push((id, "closed"));
        }
    }
    accept(&spool, b"the last makes all before it safe").await;
    let mut journal = spool.journal(Cursor::START);
    let mut told = Vec::new();
    let mut middle = None;
    loop {
        let batch = journal.next_batch(7).unwrap();
        if batch.is_empty() {
            break;
        }
        for (cursor, recorded) in batch {
            let what = match recorded.fact {
                Fact::Accepted(_) => "accepted",
                Fact::Attempted(_) => "attempted",
                Fact::Closed { .. } => "closed",
                _ => "other",
            };
            told.push((recorded.message, what));
            if told.len() == 50 {
                middle = Some(cursor);
            }
        }
    }
    assert_eq!(told[..expected.len()], expected[..]);
    assert_eq!(told.len(), expected.len() + 1);
    let rest = spool.journal(middle.unwrap()).next_batch(1000).unwrap();
    assert_eq!(rest[0].1.message, told[50].0);
    assert_eq!(rest.len(), told.len() - 50);
}
