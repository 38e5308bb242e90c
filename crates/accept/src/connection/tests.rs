//! Slow clients, on a clock that is moved by hand.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU64;

use base::{Address, Domain, Secret, Stream, SystemClock};
use privacy::MasterKey;
use smtp::server::AuthOffer;
use tokio::io::DuplexStream;
use tokio::time::{advance, sleep};

use super::*;
use crate::admission::Directory;
use crate::door::{Door, DoorConfig, Handover};
use crate::limits::Limits;

struct Nobody;

impl Directory for Nobody {
    fn authenticate(&self, _user: &str, _secret: &Secret, _client: IpAddr) -> Option<Principal> {
        None
    }

    fn may_send(&self, _principal: &Principal, _sender: Option<&Address>) -> Result<(), Reply> {
        Ok(())
    }
}

impl Handover for Nobody {
    fn accepted(&self, _stored: spool::Stored) {}
}

struct Scene {
    client: DuplexStream,
    entrance: Arc<Entrance>,
    started: Instant,
    /// Keeps the server from stopping.
    _stop: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

/// A trusted client, greeted, in a session with the default limits.
async fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let options = spool::Options { dir: dir.path().to_owned(), segment_octets: 64 << 10, ..spool::Options::default() };
    let clock = Arc::new(SystemClock);
    let (spool, _) = spool::Spool::open(options, &MasterKey::from_bytes([1; 32]), clock.clone()).unwrap();
    let hostname = Domain::parse("mx.example.net").unwrap();
    let door = Door::new(DoorConfig::new(hostname.clone()), spool, Arc::new(Nobody), clock);
    let entrance = Arc::new(Entrance::new(door, Arc::new(Nobody), Limits::default()));
    let (stop, stopping) = watch::channel(false);
    let (client, server) = tokio::io::duplex(1 << 20);
    let shared = Arc::clone(&entrance);
    let started = Instant::now();
    tokio::spawn(async move {
        let offer = Arc::new(Offer { auth: AuthOffer::Always, ..Offer::new(hostname) });
        let principal = Principal {
            account: base::AccountId(1),
            credential: None,
            stream: Stream::Transactional,
            name: "test".into(),
        };
        let mut pump = Pump::new(&shared, offer, Ipv4Addr::LOCALHOST.into(), Some(principal), false);
        drop(pump.converse(server, stopping).await);
    });
    let mut scene = Scene { client, entrance, started, _stop: stop, _dir: dir };
    assert_eq!(scene.reply().await, 220);
    assert_eq!(scene.say("EHLO c\r\n").await, 250);
    scene
}

impl Scene {
    async fn say(&mut self, text: &str) -> u16 {
        self.client.write_all(text.as_bytes()).await.unwrap();
        self.reply().await
    }

    /// The code of the next reply; 0 at the end.
    async fn reply(&mut self) -> u16 {
        let mut line = Vec::new();
        loop {
            match self.client.read_u8().await {
                Ok(b'\n') if line.get(3) == Some(&b'-') => line.clear(),
                Ok(b'\n') => return std::str::from_utf8(&line[..3]).unwrap().parse().unwrap(),
                Ok(octet) => line.push(octet),
                Err(_) => return 0,
            }
        }
    }

    fn elapsed_secs(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn count(&self, counter: impl FnOnce(&Counters) -> &AtomicU64) -> u64 {
        counter(self.entrance.counters()).load(Ordering::Relaxed)
    }

    async fn begin_data(&mut self) {
        self.say("MAIL FROM:<a@b>\r\n").await;
        self.say("RCPT TO:<b@c>\r\n").await;
        assert_eq!(self.say("DATA\r\n").await, 354);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_in_421() {
    let mut scene = scene().await;
    assert_eq!(scene.reply().await, 421);
    assert_eq!(scene.elapsed_secs(), 300);
    assert_eq!(scene.reply().await, 0);
    assert_eq!(scene.count(|c| &c.connections_timed_out), 1);
}

#[tokio::test(start_paused = true)]
async fn trickling_a_command_buys_no_time() {
    let mut scene = scene().await;
    for _ in 0..29 {
        advance(Duration::from_secs(10)).await;
        scene.client.write_all(b"N").await.unwrap();
    }
    assert_eq!(scene.reply().await, 421);
    assert_eq!(scene.elapsed_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn trickling_content_is_cut() {
    let mut scene = scene().await;
    scene.begin_data().await;
    let (mut read, mut write) = tokio::io::split(scene.client);
    let trickle = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(10)).await;
        }
    });
    let mut said = Vec::new();
    read.read_to_end(&mut said).await.unwrap();
    assert!(said.starts_with(b"421 4.4.2 "));
    let elapsed = scene.started.elapsed().as_secs();
    assert!((60..70).contains(&elapsed), "{elapsed}");
    trickle.await.unwrap();
    let counters = scene.entrance.counters();
    assert_eq!(counters.refused_unfinished.load(Ordering::Relaxed), 1);
    assert_eq!(counters.refused_content.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn content_at_the_least_rate_may_take_its_time() {
    let mut scene = scene().await;
    scene.begin_data().await;
    let line = format!("{}\r\n", "x".repeat(5998));
    for _ in 0..60 {
        sleep(Duration::from_secs(10)).await;
        scene.client.write_all(line.as_bytes()).await.unwrap();
    }
    assert_eq!(scene.count(|c| &c.connections_timed_out), 0);
    assert_eq!(scene.say(".\r\n").await, 250);
}

#[tokio::test(start_paused = true)]
async fn a_session_has_an_end() {
    let mut scene = scene().await;
    let mut noops = 0;
    loop {
        sleep(Duration::from_secs(60)).await;
        match scene.say("NOOP\r\n").await {
            250 => noops += 1,
            421 => break,
            other => panic!("{other}"),
        }
    }
    assert_eq!(noops, 59);
    assert_eq!(scene.elapsed_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn a_message_under_way_may_outlast_the_session_once() {
    let mut scene = scene().await;
    for _ in 0..59 {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(scene.say("NOOP\r\n").await, 250);
    }
    scene.begin_data().await;
    for _ in 0..10 {
        scene.client.write_all(format!("{}\r\n", "x".repeat(40_000)).as_bytes()).await.unwrap();
        sleep(Duration::from_secs(60)).await;
    }
    assert!(scene.elapsed_secs() > 4000);
    assert_eq!(scene.say(".\r\n").await, 250);
    assert_eq!(scene.reply().await, 421);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_reply_is_left() {
    let mut scene = scene().await;
    let (client, server) = tokio::io::duplex(16);
    let entrance = Arc::clone(&scene.entrance);
    let pumping = tokio::spawn(async move {
        let offer = Arc::new(Offer::new(Domain::parse("mx.example.net").unwrap()));
        let mut pump = Pump::new(&entrance, offer, Ipv4Addr::LOCALHOST.into(), None, false);
        let (_stop, stopping) = watch::channel(false);
        pump.converse(server, stopping).await.map_err(|e| e.kind())
    });
    let begun = Instant::now();
    assert_eq!(pumping.await.unwrap(), Err(io::ErrorKind::TimedOut));
    assert_eq!(begun.elapsed(), Limits::default().write_time_max);
    drop(client);
    assert_eq!(scene.say("NOOP\r\n").await, 250);
}

#[tokio::test(start_paused = true)]
async fn each_wrong_guess_waits_longer() {
    let mut waits = Vec::new();
    let mut scene = scene().await;
    for _ in 0..4 {
        let asked = Instant::now();
        let code = scene.say("AUTH PLAIN AGEAYg==\r\n").await;
        waits.push((code, asked.elapsed().as_millis()));
    }
    assert_eq!(waits, [(535, 0), (535, 250), (535, 500), (421, 1000)]);
}

#[tokio::test(start_paused = true)]
async fn the_buffer_grows_for_content_only_and_shrinks_again() {
    let entrance = scene().await.entrance;
    let offer = Arc::new(Offer::new(Domain::parse("mx.example.net").unwrap()));
    let mut pump = Pump::new(&entrance, offer, Ipv4Addr::LOCALHOST.into(), None, false);
    pump.filled = true;
    for _ in 0..1000 {
        pump.buffer.extend_from_slice(&[b'x'; 100]);
        let len = pump.buffer.len();
        bytes::Buf::advance(&mut pump.buffer, len);
        pump.make_room();
        assert!(pump.buffer.capacity() <= READ_OCTETS);
    }
    pump.buffer = BytesMut::with_capacity(CONTENT_READ_OCTETS);
    pump.make_room();
    assert!(pump.buffer.capacity() <= READ_OCTETS);
}
