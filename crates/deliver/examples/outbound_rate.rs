//! How fast queued mail leaves: accepts messages into a fresh spool, then delivers them to a sink.
//!
//! ```sh
//! smtp-sink -c 127.0.0.1:2526 1000 &
//! cargo run --release -p postrider-deliver --example outbound_rate -- /var/tmp/outbound 127.0.0.1:2526 20000
//! ```

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{AccountId, BodyType, Clock, Envelope, Meta, Origin, Recipient, Stream, SystemClock};
use deliver::agent::{Agent, AgentConfig};
use deliver::{Captured, Mode, Parts, Runner, RunnerConfig, SandboxSink};
use privacy::MasterKey;
use route::{HostPort, HostTable, Resolver, ResolverConfig};
use spool::{Options, Spool};
use tokio::sync::watch;

/// Live mode: nothing comes here.
struct NoSandbox;

impl SandboxSink for NoSandbox {
    fn capture(&self, _: Captured) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async { Err("there is no sandbox here".to_owned()) })
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().expect("first argument: a directory for the spool"));
    let (host, port) = {
        let sink = arguments.next().expect("second argument: address of a sink");
        let (host, port) = sink.rsplit_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).expect("host:port");
        (host, port.parse().expect("a port"))
    };
    let count: usize = arguments.next().expect("third argument: how many messages").parse().expect("a number");

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = Options { dir, ..Options::default() };
    let (spool, _) = Spool::open(options, &MasterKey::from_bytes([1; 32]), Arc::clone(&clock)).expect("a spool");
    let hosts = HostTable::new([("*", HostPort { host: host.into(), port })]).expect("a host table");
    let resolver = Resolver::new(ResolverConfig { hosts, ..ResolverConfig::default() }, fastrand::Rng::with_seed(1));
    let hostname: base::Domain = "bench.example".parse().expect("a domain");
    let config = RunnerConfig {
        mode: Mode::Live,
        hostname: hostname.clone(),
        queue: queue::Config::default(),
        drain: Duration::from_secs(5),
    };
    let parts = Parts {
        spool: spool.clone(),
        agent: Agent::new(AgentConfig::new(hostname), Arc::clone(&clock)),
        resolver: resolver.expect("a resolver"),
        sandbox: Arc::new(NoSandbox),
        clock: Arc::clone(&clock),
        seed: 1,
    };
    let body: Vec<u8> = [b"Subject: rate\r\n\r\n".to_vec(), b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n".repeat(66)].concat();
    let (runner, handle) = Runner::new(config, parts, spool::Recovered::default());
    let mut waiting = Vec::new();
    let began = Instant::now();
    for chunk in 0..count.div_ceil(100) {
        let mut group = Vec::new();
        for _ in 0..100.min(count - chunk * 100) {
            let mut draft = spool.draft(AccountId(1));
            draft.write(&body).expect("room for a message");
            let meta = meta(draft.id(), body.len() as u64, clock.as_ref());
            group.push(tokio::spawn(draft.commit(meta)));
        }
        for commit in group {
            waiting.push(commit.await.expect("no panic").expect("a commit"));
        }
    }
    println!("accepted {count} in {:?}", began.elapsed());
    let (stop, stopped) = watch::channel(false);
    let began = Instant::now();
    let running = tokio::spawn(runner.run(stopped));
    for stored in waiting {
        handle.accepted(stored);
    }
    let mut synced = spool.synced();
    while spool.stats().live_messages > 0 {
        synced.changed().await.expect("the spool lives");
    }
    let took = began.elapsed();
    println!("delivered {count} in {took:?}: {:.0}/s", count as f64 / took.as_secs_f64());
    stop.send_replace(true);
    running.await.expect("no panic");
    spool.shutdown();
}

fn meta(id: base::MessageId, size_octets: u64, clock: &dyn Clock) -> Meta {
    Meta {
        id,
        account: AccountId(1),
        credential: None,
        stream: Stream::Transactional,
        received_at: clock.now(),
        origin: Origin::Local,
        envelope: Envelope {
            sender: Some("sender@example.org".parse().expect("an address")),
            recipients: vec![Recipient::new("ada@sink.example".parse().expect("an address"))],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets,
        eight_bit: false,
        subject: None,
        message_id_header: None,
    }
}
