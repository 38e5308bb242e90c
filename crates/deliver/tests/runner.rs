//! The runner with a real spool: what is accepted gets its outcome, its reports, and its end, also
//! when the program stops in between.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{
    AccountId, Address, BodyType, Clock, Domain, Envelope, Fact, MessageId, Meta, Notify, Origin, Outcome, Recipient,
    ReportKind, Stream, SystemClock,
};
use deliver::agent::{Agent, AgentConfig};
use deliver::{Captured, Mode, Order, Parts, QueueHandle, Runner, RunnerConfig, SandboxSink};
use privacy::MasterKey;
use queue::Selector;
use route::{Resolver, ResolverConfig};
use spool::{Cursor, Options, Spool, Stored};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Keeps what it is given, and tells.
struct Inbox {
    refusing: Mutex<bool>,
    arrived: mpsc::UnboundedSender<Captured>,
}

impl SandboxSink for Inbox {
    fn capture(&self, captured: Captured) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            if *self.refusing.lock().unwrap() {
                return Err("no room".to_owned());
            }
            self.arrived.send(captured).map_err(|_| "nobody listens".to_owned())
        })
    }
}

struct World {
    spool: Spool,
    handle: QueueHandle,
    inbox: Arc<Inbox>,
    arrived: mpsc::UnboundedReceiver<Captured>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl World {
    fn open(dir: &Path) -> World {
        World::open_in(dir, Mode::Sandbox)
    }

    fn open_in(dir: &Path, mode: Mode) -> World {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = Options { dir: dir.to_owned(), segment_octets: 1 << 20, ..Options::default() };
        let (spool, recovered) = Spool::open(options, &MasterKey::from_bytes([5; 32]), Arc::clone(&clock)).unwrap();
        let (tell, arrived) = mpsc::unbounded_channel();
        let inbox = Arc::new(Inbox { refusing: Mutex::new(false), arrived: tell });
        let hostname: Domain = "relay.example".parse().unwrap();
        let config = RunnerConfig {
            mode,
            hostname: hostname.clone(),
            queue: queue::Config::default(),
            drain: Duration::from_secs(5),
        };
        let parts = Parts {
            spool: spool.clone(),
            agent: Agent::new(AgentConfig::new(hostname), Arc::clone(&clock)),
            resolver: Resolver::new(ResolverConfig::default(), fastrand::Rng::with_seed(1)).unwrap(),
            sandbox: Arc::clone(&inbox) as Arc<dyn SandboxSink>,
            clock,
            seed: 7,
        };
        let (runner, handle) = Runner::new(config, parts, recovered);
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(runner.run(stopped));
        World { spool, handle, inbox, arrived, stop, running }
    }

    async fn accept(&self, to: &[Recipient]) -> Stored {
        let mut draft = self.spool.draft(AccountId(1));
        draft.write(b"Subject: hello\r\n\r\nbody\r\n").unwrap();
        let meta = meta(draft.id(), to.to_vec());
        draft.commit(meta).await.unwrap()
    }

    /// Accepts and hands over, as the door does.
    async fn send(&self, to: &[Recipient]) -> MessageId {
        let stored = self.accept(to).await;
        let id = stored.meta.id;
        self.handle.accepted(stored);
        id
    }

    async fn next_captured(&mut self) -> Captured {
        tokio::time::timeout(Duration::from_secs(20), self.arrived.recv()).await.expect("nothing arrived").unwrap()
    }

    /// Waits until the spool has no message left: each is closed and its key is on the way out.
    async fn until_all_closed(&self) {
        let mut synced = self.spool.synced();
        let closed = async {
            while self.spool.stats().live_messages > 0 {
                synced.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), closed).await.expect("messages stayed open");
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.running.await.unwrap();
        self.spool.shutdown();
    }

    /// Follows the journal until it has such a fact.
    async fn until_written(&self, mut wanted: impl FnMut(MessageId, &Fact) -> bool) {
        let mut journal = self.spool.journal(Cursor::START);
        let mut synced = self.spool.synced();
        let found = async {
            loop {
                let batch = journal.next_batch(1000).unwrap();
                if batch.iter().any(|(_, recorded)| wanted(recorded.message, &recorded.fact)) {
                    return;
                }
                if batch.is_empty() {
                    synced.changed().await.unwrap();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), found).await.expect("the journal does not say so");
    }
}

fn meta(id: MessageId, recipients: Vec<Recipient>) -> Meta {
    Meta {
        id,
        account: AccountId(1),
        credential: None,
        stream: Stream::Transactional,
        received_at: SystemClock.now(),
        origin: Origin::Local,
        envelope: Envelope {
            sender: Some("sender@example.org".parse().unwrap()),
            recipients,
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets: 24,
        eight_bit: false,
        subject: Some("hello".into()),
        message_id_header: None,
    }
}

fn to(address: &str) -> Recipient {
    Recipient::new(address.parse().unwrap())
}

fn recipient_of(captured: &Captured, position: usize) -> &Address {
    &captured.meta.envelope.recipients[captured.recipients[position] as usize].address
}

#[tokio::test]
async fn a_message_is_captured_once_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path());
    let id = world.send(&[to("ada@one.example"), to("bob@two.example"), to("eve@one.example")]).await;
    let mut seen = HashSet::new();
    for _ in 0..2 {
        let captured = world.next_captured().await;
        assert_eq!(captured.meta.id, id);
        assert_eq!(&captured.content[..], b"Subject: hello\r\n\r\nbody\r\n");
        for position in 0..captured.recipients.len() {
            assert!(seen.insert(recipient_of(&captured, position).to_string()), "one recipient twice");
        }
    }
    assert_eq!(seen.len(), 3);
    world.until_all_closed().await;
    assert!(world.spool.body(id).is_err(), "the body of a closed message cannot be read");
    assert!(world.arrived.try_recv().is_err(), "nothing else arrived");
    world.stop().await;
}

#[tokio::test]
async fn a_bounce_is_reported_to_the_sender_and_then_the_message_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path());
    let id = world.send(&[to("bounce@simulator.postrider.test")]).await;
    let report = world.next_captured().await;
    assert_eq!(report.meta.envelope.sender, None);
    assert_eq!(recipient_of(&report, 0).as_str(), "sender@example.org");
    assert!(
        matches!(&report.meta.origin, Origin::Report { about, kind: ReportKind::Failure, recipients } if *about == id && recipients == &[0])
    );
    let text = String::from_utf8_lossy(&report.content).into_owned();
    assert!(text.contains("bounce@simulator.postrider.test") && text.contains("5.1.1"), "{text}");
    world.until_all_closed().await;
    world.stop().await;
}

/// Two recipients on different ways failed at nearly the same time: while the report about the first was
/// being written the second fell due, was taken for written, and was never told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_at_the_same_time_are_each_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open_in(dir.path(), Mode::Live);
    let recipients = ["bounce@simulator.postrider.test", "a@[127.0.0.1]", "b@[127.0.0.2]", "c@[127.0.0.3]"].map(to);
    for _ in 0..10 {
        let mut draft = world.spool.draft(AccountId(1));
        draft.write(b"Subject: hello\r\n\r\nbody\r\n").unwrap();
        let mut meta = meta(draft.id(), recipients.to_vec());
        meta.envelope.sender = Some("delivered@simulator.postrider.test".parse().unwrap());
        world.handle.accepted(draft.commit(meta).await.unwrap());
    }
    let mut told: HashMap<MessageId, Vec<u32>> = HashMap::new();
    let mut left = 10 * recipients.len();
    world
        .until_written(|_, fact| {
            if let Fact::Accepted(Meta { origin: Origin::Report { about, recipients, .. }, .. }) = fact {
                told.entry(*about).or_default().extend(recipients);
                left -= recipients.len();
            }
            left == 0
        })
        .await;
    for (about, mut recipients) in told {
        recipients.sort_unstable();
        assert_eq!(recipients, [0, 1, 2, 3], "each recipient of {about} is reported once");
    }
    world.until_all_closed().await;
    world.stop().await;
}

#[tokio::test]
async fn nobody_is_told_who_did_not_want_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path());
    let mut silent = to("bounce@simulator.postrider.test");
    silent.notify = Some(Notify::NEVER);
    world.send(&[silent]).await;
    world.until_all_closed().await;
    assert!(world.arrived.try_recv().is_err());
    world.stop().await;
}

#[tokio::test]
async fn what_was_accepted_before_a_crash_is_delivered_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    // Stored, but the runner never hears of it: as if the process died right after the 250.
    let id = world.accept(&[to("ada@one.example")]).await.meta.id;
    world.stop().await;
    let mut world = World::open(dir.path());
    assert_eq!(world.next_captured().await.meta.id, id);
    world.until_all_closed().await;
    world.stop().await;
    let mut world = World::open(dir.path());
    assert_eq!(world.handle.summary().await.unwrap(), []);
    assert!(world.arrived.try_recv().is_err(), "what is closed is not delivered again");
    world.stop().await;
}

#[tokio::test]
async fn a_report_that_a_crash_prevented_is_written_after_it_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let stored = world.accept(&[to("ada@one.example")]).await;
    let at = SystemClock.now();
    let bounced = base::Attempt {
        started_at: at,
        finished_at: at,
        number: 1,
        server: "mx.one.example [192.0.2.1]:25".into(),
        tls: None,
        results: vec![base::RecipientResult {
            recipient: 0,
            outcome: Outcome::Bounced,
            reply: base::Reply::new(550, base::Enhanced(5, 1, 1), "no such user"),
        }],
        dialogue: Vec::new(),
    };
    // The outcome is in the journal, the report is not.
    world.spool.record_synced(stored.meta.id, &Fact::Attempted(bounced)).await.unwrap();
    world.stop().await;
    let mut world = World::open(dir.path());
    let report = world.next_captured().await;
    assert!(String::from_utf8_lossy(&report.content).contains("no such user"));
    world.until_all_closed().await;
    world.stop().await;
    let mut world = World::open(dir.path());
    assert_eq!(world.handle.summary().await.unwrap(), []);
    assert!(world.arrived.try_recv().is_err(), "one report, not two");
    world.stop().await;
}

#[tokio::test]
async fn held_mail_waits_over_a_restart_and_goes_when_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    *world.inbox.refusing.lock().unwrap() = true;
    let id = world.send(&[to("ada@one.example"), to("bob@two.example")]).await;
    let one = Selector::Destination("one.example".into());
    while world.handle.order(Order::Hold, one.clone()).await.unwrap().jobs == 0 {
        tokio::task::yield_now().await;
    }
    world.stop().await;

    let mut world = World::open(dir.path());
    let held: u32 = world.handle.summary().await.unwrap().iter().map(|lane| lane.held).sum();
    assert_eq!(held, 1, "only the one destination is held");
    assert_eq!(world.handle.order(Order::Release, Selector::Message(id)).await.unwrap().jobs, 1);
    assert_eq!(recipient_of(&world.next_captured().await, 0).as_str(), "ada@one.example");
    world.handle.order(Order::RetryNow, Selector::All).await.unwrap();
    assert_eq!(recipient_of(&world.next_captured().await, 0).as_str(), "bob@two.example");
    world.until_all_closed().await;
    world.stop().await;
}

#[tokio::test]
async fn cancelled_mail_is_never_sent_and_the_journal_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path());
    let id = world.send(&[to("defer@simulator.postrider.test")]).await;
    // Deferred for minutes after its first attempt; then it is taken back.
    while world.handle.jobs(id).await.unwrap().iter().all(|job| job.attempts == 0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.handle.order(Order::Cancel, Selector::Account(AccountId(1))).await.unwrap().jobs, 1);
    world.until_all_closed().await;
    assert!(world.arrived.try_recv().is_err(), "a cancelled message is not reported as a failure");
    world
        .until_written(|message, fact| {
            message == id
                && matches!(fact, Fact::Attempted(attempt) if attempt.results.iter().any(|r| r.outcome == Outcome::Cancelled))
        })
        .await;
    world.stop().await;
}
