//! How many messages a second can be made safe on this disk, and how many share a sync.
//!
//! `cargo run --release -p postrider-spool --example commit_rate [directory] [committers] [seconds]`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base::{
    AccountId, Address, BodyType, Clock, Envelope, MessageId, Meta, Origin, Recipient, Stream, SystemClock, Timestamp,
};
use spool::{Options, Spool};

fn meta() -> Result<Meta, base::AddressError> {
    Ok(Meta {
        id: MessageId::from_bytes([0; 16]),
        account: AccountId(1),
        credential: None,
        stream: Stream::Transactional,
        received_at: Timestamp(0),
        origin: Origin::Smtp { client: [192, 0, 2, 1].into(), helo: "client.example.org".into(), tls: true },
        envelope: Envelope {
            sender: Some(Address::parse("sender@example.org")?),
            recipients: vec![Recipient::new(Address::parse("recipient@example.com")?)],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets: 4096,
        eight_bit: false,
        subject: Some("a subject of the usual length".into()),
        message_id_header: Some("<0123456789@example.org>".into()),
    })
}

async fn committer(spool: Spool, meta: Meta, finish: bool, until: Instant) -> Result<u64, spool::SpoolError> {
    let body = vec![b'x'; 4096];
    let mut commits = 0;
    while Instant::now() < until {
        let mut draft = spool.draft(AccountId(1));
        draft.write(&body)?;
        let stored = draft.commit(meta.clone()).await?;
        if finish {
            spool.close(stored.meta.id, SystemClock.now())?;
        }
        commits += 1;
    }
    Ok(commits)
}

/// Reads the journal as the projector does, so that segments are used again.
fn follow(spool: &Spool, over: &AtomicBool) -> Result<(), spool::SpoolError> {
    let mut journal = spool.journal(spool::Cursor::START);
    while !over.load(Ordering::Relaxed) {
        if journal.next_batch(10_000)?.is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        spool.projected(journal.cursor());
    }
    Ok(())
}

async fn run(
    name: &str,
    spool: &Spool,
    committers: usize,
    time: Duration,
    finish: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let before = spool.stats();
    let start = Instant::now();
    let tasks: Vec<_> = (0..committers)
        .map(|_| Ok(tokio::spawn(committer(spool.clone(), meta()?, finish, start + time))))
        .collect::<Result<_, base::AddressError>>()?;
    let mut commits = 0;
    for task in tasks {
        commits += task.await??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = spool.stats();
    let syncs = after.syncs - before.syncs;
    println!(
        "{name}: {:.0} commits/s, {:.3} syncs per commit, {:.0} syncs/s, {} segments, {} keys destroyed",
        commits as f64 / seconds,
        syncs as f64 / commits as f64,
        syncs as f64 / seconds,
        after.segments,
        after.keys_destroyed - before.keys_destroyed,
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "/var/tmp/postrider-commit-rate".into()));
    let committers: usize = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let time = Duration::from_secs(arguments.next().map_or(Ok(5), |text| text.parse())?);
    let keys = privacy::MasterKey::load_or_make(&dir.with_extension("key"))?;
    let options = Options { dir: dir.clone(), ..Options::default() };
    let (spool, _) = Spool::open(options.clone(), &keys, Arc::new(SystemClock))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run("left waiting", &spool, committers, time, false))?;
    let waiting = spool.stats().live_messages;
    spool.shutdown();
    drop(spool);

    let start = Instant::now();
    let (spool, recovered) = Spool::open(options, &keys, Arc::new(SystemClock))?;
    println!("restart: {} of {waiting} messages after {:?}", recovered.messages.len(), start.elapsed());
    for message in &recovered.messages {
        spool.close(message.meta.id, SystemClock.now())?;
    }
    drop(recovered);
    let over = Arc::new(AtomicBool::new(false));
    let projector = std::thread::spawn({
        let (spool, over) = (spool.clone(), Arc::clone(&over));
        move || follow(&spool, &over)
    });
    runtime.block_on(run("closed at once", &spool, committers, time, true))?;
    over.store(true, Ordering::Relaxed);
    projector.join().map_err(|_| "the projector panicked")??;
    println!("{:?}", spool.stats());
    spool.shutdown();
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
