//! Segments come and go, disks fill up and fail, clients leave: decided step by step.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::common::*;
use crate::sim::World;
use crate::sim::disk::{Cut, Disk, Fault};
use base::{Fact, MessageId, Timestamp};
use fastrand::Rng;
use spool::format::parse_record;
use spool::{Cursor, Hands, Health, Options, Recovered, Spool, SpoolError, Stored};

fn options() -> Options {
    Options { segment_octets: 32 << 10, inline_octets_max: 4096, ..Options::default() }
}

fn start(disk: &Disk) -> (Spool, Recovered, Hands) {
    Spool::open_by_hand(Arc::new(disk.clone()), options(), &keys(), Arc::new(StepClock::default())).expect("it opens")
}

type Commit = Pin<Box<dyn Future<Output = Result<Stored, SpoolError>>>>;

fn submit(spool: &Spool, body: &[u8]) -> Commit {
    let mut commit: Commit = Box::pin(draft(spool, body).commit(meta()));
    assert!(poll(&mut commit).is_none(), "nothing is acknowledged before the sync");
    commit
}

fn poll(commit: &mut Commit) -> Option<Result<Stored, SpoolError>> {
    match commit.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

fn store(spool: &Spool, hands: &Hands, body: &[u8]) -> MessageId {
    let mut commit = submit(spool, body);
    hands.sync();
    let stored = match poll(&mut commit) {
        Some(result) => result,
        // It waited for a segment.
        None => {
            hands.keep(Instant::now());
            assert!(poll(&mut commit).is_none());
            hands.sync();
            poll(&mut commit).expect("it is synced now")
        }
    };
    stored.expect("it is stored").meta.id
}

fn project_all(spool: &Spool) {
    let mut journal = spool.journal(Cursor::START);
    while !journal.next_batch(100).expect("the journal reads").is_empty() {
        spool.projected(journal.cursor());
    }
}

#[test]
fn segments_are_used_again_and_one_message_does_not_keep_one_alive() {
    let disk = Disk::default();
    let (spool, _, hands) = start(&disk);
    let straggler = store(&spool, &hands, b"I stay");
    spool.record(straggler, &attempted(1, &[delivered(0), deferred(1, 77)])).unwrap();
    let held = Fact::Held { at: Timestamp(1), reason: "by hand".into(), recipients: vec![1] };
    spool.record(straggler, &held).unwrap();
    let mut now = Instant::now();
    for round in 0..200 {
        let id = store(&spool, &hands, &body_of(1500));
        spool.close(id, Timestamp(round)).unwrap();
        hands.sync();
        project_all(&spool);
        now += Duration::from_secs(1);
        hands.keep(now);
    }
    let stats = spool.stats();
    assert!(stats.segments <= 4, "{stats:?}");
    assert!(stats.segments_recycled >= 5 && stats.carried >= 5, "{stats:?}");
    assert!(stats.keys_destroyed >= 200, "{stats:?}");
    assert!(disk.files("segments").len() <= 6);
    assert_eq!(read_body(&spool, straggler).unwrap(), b"I stay");
    drop((spool, hands));
    disk.reboot(Cut::LoseAll, &mut Rng::with_seed(1));
    let (spool, recovered, _hands) = start(&disk);
    assert_eq!(recovered.messages.len(), 1);
    let message = &recovered.messages[0];
    assert_eq!((message.meta.id, message.attempts, &message.held[..]), (straggler, 1, &[1][..]));
    assert!(message.recipients[0].as_ref().unwrap().outcome.is_final());
    assert_eq!(read_body(&spool, straggler).unwrap(), b"I stay");
}

#[test]
fn without_a_projector_nothing_goes() {
    let disk = Disk::default();
    let (spool, _, hands) = start(&disk);
    let mut now = Instant::now();
    for round in 0..60 {
        let id = store(&spool, &hands, &body_of(1500));
        spool.close(id, Timestamp(round)).unwrap();
        hands.sync();
        now += Duration::from_secs(1);
        hands.keep(now);
    }
    assert_eq!(spool.stats().segments_recycled, 0);
    assert_eq!(spool.journal(Cursor::START).next_batch(1000).unwrap().len(), 120);
}

#[test]
fn an_old_segment_is_left_even_when_nothing_comes() {
    let disk = Disk::default();
    let (spool, _, hands) = start(&disk);
    let id = store(&spool, &hands, b"only this");
    let first = disk.files("segments")[0].0.clone();
    project_all(&spool);
    hands.keep(Instant::now() + Duration::from_secs(3601));
    hands.keep(Instant::now() + Duration::from_secs(3602));
    assert!(disk.files("segments").iter().all(|(name, _)| *name != first), "{first} is gone");
    assert_eq!(read_body(&spool, id).unwrap(), b"only this");
}

#[test]
fn a_full_disk_refuses_mail_records_outcomes_and_heals() {
    let disk = Disk::default();
    let (spool, _, hands) = start(&disk);
    let waiting: Vec<MessageId> = (0..6).map(|_| store(&spool, &hands, &body_of(1000))).collect();
    disk.set_fault(Some(Fault::FullFrom(0)));
    let refused = loop {
        hands.keep(Instant::now());
        let mut commit = Box::pin(draft(&spool, &body_of(1000)).commit(meta())) as Commit;
        if let Some(result) = poll(&mut commit) {
            break result;
        }
        hands.sync();
        assert!(poll(&mut commit).unwrap().is_ok());
    };
    assert!(matches!(refused, Err(SpoolError::Full)), "{refused:?}");
    assert_eq!(spool.health(), Health::Full);
    let mut large = spool.draft(ACCOUNT);
    let written = body_of(50_000).chunks(4000).map(|part| large.write(part)).find(Result::is_err);
    assert!(matches!(written, Some(Err(SpoolError::Full))), "{written:?}");
    for id in &waiting {
        spool.record(*id, &attempted(1, &[delivered(0), delivered(1)])).expect("outcomes have a reserve");
        spool.close(*id, Timestamp(1)).expect("and so has the end");
    }
    disk.set_fault(None);
    hands.keep(Instant::now());
    assert_eq!(spool.health(), Health::Good);
    store(&spool, &hands, &body_of(1000));
}

#[test]
fn a_failed_sync_acknowledges_nobody_and_keeps_what_was_recorded() {
    let disk = Disk::default();
    let (spool, _, hands) = start(&disk);
    let safe = store(&spool, &hands, b"safe");
    hands.keep(Instant::now());
    spool.record(safe, &attempted(1, &[delivered(0)])).unwrap();
    let mut first = submit(&spool, b"first");
    let mut second = submit(&spool, b"second");
    // One write of the slots, then the sync.
    disk.set_fault(Some(Fault::FailAt(2, std::io::ErrorKind::Other)));
    hands.sync();
    assert!(disk.was_hit());
    for commit in [&mut first, &mut second] {
        assert!(matches!(poll(commit), Some(Err(SpoolError::Failed(_)))));
    }
    assert!(matches!(spool.health(), Health::ReadOnly { .. }));
    // The next sync would succeed: still nobody is told that it went well.
    hands.sync();
    let mut third: Commit = Box::pin(draft(&spool, b"third").commit(meta()));
    assert!(matches!(poll(&mut third), Some(Err(SpoolError::ReadOnly(_)))));
    spool.record(safe, &attempted(2, &[deferred(1, 9)])).expect("deliveries go on being recorded");
    hands.sync();
    drop((spool, hands));
    disk.reboot(Cut::LoseAll, &mut Rng::with_seed(1));
    let (spool, recovered, _hands) = start(&disk);
    let ids: Vec<MessageId> = recovered.messages.iter().map(|message| message.meta.id).collect();
    assert_eq!(ids, [safe]);
    assert!(recovered.messages[0].recipients.iter().all(Option::is_some), "both attempts are known");
    assert_eq!(read_body(&spool, safe).unwrap(), b"safe");
    assert_eq!(spool.health(), Health::Good, "a restart on a good disk accepts again");
}

#[test]
fn who_leaves_before_the_answer_leaves_nothing() {
    let disk = Disk::default();
    let (spool, _, hands) = start(&disk);
    drop(submit(&spool, b"gone before the sync"));
    drop(draft(&spool, &body_of(60_000)));
    hands.sync();
    hands.large();
    hands.keep(Instant::now());
    assert_eq!((spool.stats().live_messages, disk.files("large").len()), (0, 0));
    drop((spool, hands));
    disk.reboot(Cut::LoseAll, &mut Rng::with_seed(1));
    assert!(start(&disk).1.messages.is_empty());
}

#[test]
fn a_message_that_is_too_long_is_refused_early() {
    let disk = Disk::default();
    let options = Options { message_octets_max: 100_000, ..options() };
    let (spool, _, hands) =
        Spool::open_by_hand(Arc::new(disk.clone()), options, &keys(), Arc::new(StepClock::default())).unwrap();
    let mut draft = spool.draft(ACCOUNT);
    let refused = std::iter::repeat_with(|| draft.write(&[b'x'; 9999])).find(Result::is_err);
    assert!(matches!(refused, Some(Err(SpoolError::TooLarge))));
    assert!(draft.octets() <= 110_000);
    drop(draft);
    hands.large();
    assert!(disk.files("large").is_empty());
    // An envelope that fits in no segment.
    let mut huge = meta();
    huge.subject = Some("s".repeat(30_000).into());
    let mut commit: Commit = Box::pin(spool.draft(ACCOUNT).commit(huge));
    assert!(matches!(poll(&mut commit), Some(Err(SpoolError::TooLarge))));
}

#[test]
fn no_nonce_is_used_twice_whatever_fails() {
    let mut records = 0;
    for at in (5..400).step_by(3) {
        let disk = Disk::default();
        disk.keep_writes();
        let mut world = World::new(disk.clone(), 31);
        disk.set_fault(Some(Fault::FailAt(at, std::io::ErrorKind::Other)));
        if world.open().is_none() {
            world.open();
        }
        world.live(60);
        let mut used: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        for write in disk.kept_writes() {
            let Ok(record) = parse_record(&write) else { continue };
            if record.header.meta_octets > 0 {
                records += 1;
                let known = used.insert((record.header.segment, record.header.nonce), record.meta.to_vec());
                assert!(known.is_none(), "a nonce of segment {} twice, fault at {at}", record.header.segment);
            }
        }
        world.die();
    }
    assert!(records > 1000, "{records}");
}

#[test]
fn a_hundred_thousand_messages_are_back_soon() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().to_owned(), ..Options::default() };
    let fs = Arc::new(spool::fs::RealFs::new(dir.path()));
    let clock = Arc::new(StepClock::default());
    let (spool, _, hands) = Spool::open_by_hand(fs.clone(), options.clone(), &keys(), clock.clone()).unwrap();
    let body = body_of(1000);
    let count = 100_000;
    for _ in 0..count / 1000 {
        let mut commits: Vec<Commit> = Vec::new();
        for _ in 0..1000 {
            let mut commit: Commit = Box::pin(draft(&spool, &body).commit(meta()));
            if poll(&mut commit).is_none() && spool.stats().segments == 1 {
                hands.keep(Instant::now());
            }
            commits.push(commit);
        }
        hands.keep(Instant::now());
        hands.sync();
        for commit in &mut commits {
            assert!(poll(commit).is_some_and(|result| result.is_ok()));
        }
    }
    drop((spool, hands));
    let began = Instant::now();
    let (_spool, recovered, _hands) = Spool::open_by_hand(fs, options, &keys(), clock).unwrap();
    println!("{} messages back after {:?} (unoptimised)", recovered.messages.len(), began.elapsed());
    assert_eq!((recovered.messages.len(), recovered.damage.len()), (count, 0));
}
