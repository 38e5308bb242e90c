//! A client submits messages over many connections while the server is killed at random moments and started again.
//! In the end the ledger is clean: nothing that was acknowledged is lost, and every duplicate is one that nobody can
//! avoid.
//!
//! `make test` tells the short story; `make soak` (`SOAK_MINUTES`) the long one. The seed is printed, and
//! `SOAK_SEED` repeats its choices.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use testkit::ledger::{Ledger, Told, Verdict};
use testkit::message::story_id;
use testkit::wait::until_within;
use testkit::{Client, Message, Receipt, Server, Sink};

const CONNECTIONS: usize = 20;
/// Messages that one connection sends before it begins anew.
const MESSAGES_PER_CONNECTION: usize = 25;

/// Where the server is now; `None` while it is down.
#[derive(Default)]
struct Whereabouts {
    address: Mutex<Option<(SocketAddr, String, String)>>,
    changed: Condvar,
}

impl Whereabouts {
    fn set(&self, server: Option<&Server>) {
        let there = server.map(|server| (server.smtp(), server.user().to_owned(), server.password().to_owned()));
        *self.address.lock().expect("no client panics with it") = there;
        self.changed.notify_all();
    }

    fn wait(&self) -> (SocketAddr, String, String) {
        let address = self.address.lock().expect("no client panics with it");
        let address = self.changed.wait_while(address, |address| address.is_none()).expect("no client panics");
        address.clone().expect("it was just there")
    }
}

/// The messages still to be sent, what became of the others, and how many had an answer.
struct Work {
    waiting: Mutex<VecDeque<String>>,
    ledger: Mutex<Ledger>,
    /// Message ids by story id, as the replies told them.
    ids: Mutex<BTreeMap<String, String>>,
    answered: AtomicUsize,
    progress: Condvar,
    octets: usize,
}

impl Work {
    fn told(&self, story: &str, told: Told) {
        self.ledger.lock().expect("no client panics with it").told(story, told);
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.progress.notify_all();
    }

    /// One client: connects, logs in, sends, and begins again when the connection breaks.
    fn submit(&self, whereabouts: &Whereabouts, done: &AtomicBool) {
        while !done.load(Ordering::SeqCst) {
            let (address, user, password) = whereabouts.wait();
            let Ok(mut client) = login(address, &user, &password) else { continue };
            for _ in 0..MESSAGES_PER_CONNECTION {
                let Some(story) = self.waiting.lock().expect("no client panics with it").pop_front() else { return };
                let message = Message::new(&story).sized(self.octets).bytes();
                match client.try_send("ada@sender.test", "bob@example.test", &message) {
                    Ok(reply) if reply.code == 250 => {
                        let id = reply.message_id();
                        self.ids.lock().expect("no client panics with it").insert(story.clone(), id);
                        self.told(&story, Told::Accepted);
                    }
                    // It is stopping or busy: the client keeps the message, and sends it as another one.
                    Ok(reply) => self.told(&story, Told::Refused(reply.code)),
                    Err(_) => {
                        self.told(&story, Told::Unknown);
                        break;
                    }
                }
            }
        }
    }
}

fn login(address: SocketAddr, user: &str, password: &str) -> std::io::Result<Client> {
    let mut client = Client::try_connect(address)?;
    let expect = |client: &mut Client, line: &str, code: u16| -> std::io::Result<()> {
        let reply = if line.is_empty() { client.try_reply()? } else { client.try_command(line)? };
        if reply.code == code { Ok(()) } else { Err(std::io::Error::other(reply.to_string())) }
    };
    expect(&mut client, "", 220)?;
    expect(&mut client, "EHLO client.test", 250)?;
    // AUTH in the clear: the listener is told to take it, so that the story is about the spool and not about TLS.
    let secret = data_encoding::BASE64.encode(format!("\0{user}\0{password}").as_bytes());
    expect(&mut client, &format!("AUTH PLAIN {secret}"), 235)?;
    Ok(client)
}

struct Story {
    messages: usize,
    kills: usize,
    octets: usize,
    seed: u64,
}

#[test]
fn nothing_is_lost_and_each_duplicate_is_explained() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("it is a number"));
    let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("SOAK_SEED={seed}");
    match number("SOAK_MINUTES") {
        None => tell(&Story { messages: 2000, kills: 20, octets: 4000, seed }),
        Some(minutes) => {
            let end = Instant::now() + Duration::from_secs(60 * minutes);
            let mut random = fastrand::Rng::with_seed(seed);
            while Instant::now() < end {
                let (octets, messages) =
                    [(1000, 4000), (4000, 3000), (50_000, 1500), (300_000, 500)][random.usize(..4)];
                // Each kill costs every client the answer to one message.
                let kills = random.usize(1..=messages / CONNECTIONS / 3);
                tell(&Story { messages, kills, octets, seed: random.u64(..) });
            }
        }
    }
}

fn tell(story: &Story) {
    println!("{} messages of {} octets, {} kills, seed {}", story.messages, story.octets, story.kills, story.seed);
    let mut random = fastrand::Rng::with_seed(story.seed);
    let sink = Sink::builder().headers_only().start();
    let mut server = Server::builder("crash")
        .live()
        .impatient()
        .host("example.test", sink.address())
        .listener("address = \"127.0.0.1:0\", auth = \"always\"")
        .without_default_listeners()
        .start();
    let whereabouts = Arc::new(Whereabouts::default());
    whereabouts.set(Some(&server));
    let work = Arc::new(Work {
        waiting: Mutex::new((0..story.messages).map(|number| format!("crash-{number}")).collect()),
        ledger: Mutex::default(),
        ids: Mutex::default(),
        answered: AtomicUsize::new(0),
        progress: Condvar::new(),
        octets: story.octets,
    });
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (work, whereabouts, done) = (Arc::clone(&work), Arc::clone(&whereabouts), Arc::clone(&done));
            thread::spawn(move || work.submit(&whereabouts, &done))
        })
        .collect();

    // Each kill comes at a random moment of the work: after so many answers, and up to a few milliseconds more.
    let mut moments: Vec<usize> = (0..story.kills).map(|_| random.usize(0..story.messages)).collect();
    moments.sort_unstable();
    for moment in moments {
        let pause = Duration::from_micros(random.u64(0..20_000));
        let waiting = work.waiting.lock().expect("no client panics with it");
        let reached =
            |waiting: &mut VecDeque<String>| work.answered.load(Ordering::SeqCst) < moment && !waiting.is_empty();
        let waited = work.progress.wait_timeout_while(waiting, Duration::from_secs(120), reached);
        assert!(!waited.expect("no client panics with it").1.timed_out(), "no progress for two minutes");
        thread::park_timeout(pause);
        whereabouts.set(None);
        let signalled = Instant::now();
        server.kill();
        work.ledger.lock().expect("no client panics with it").killed(signalled);
        server.start();
        whereabouts.set(Some(&server));
    }
    for client in clients {
        client.join().expect("no client panics");
    }
    settle(&server, &work, &sink);

    let receipts = sink.receipts();
    let history = history(&server, &work, &receipts);
    let verdict = work.ledger.lock().expect("the clients have ended").compare(&receipts, &history);
    println!("{verdict}");
    tell_duplicates(&verdict, &receipts, &work);
    assert_eq!(sink.violations(), Vec::<String>::new());
    verdict.expect_clean();
    assert!(verdict.accepted > story.messages / 2, "a story about mail that is taken: {verdict}");
}

/// The whole story of each message that arrived twice without a reason.
fn tell_duplicates(verdict: &Verdict, receipts: &[Receipt], work: &Work) {
    let Some(start) = receipts.first().map(|receipt| receipt.dot_at) else { return };
    let ms = |moment: Instant| moment.saturating_duration_since(start).as_millis();
    let unexplained = verdict.duplicates.iter().filter(|duplicate| !duplicate.explained);
    let ids: BTreeSet<&str> = unexplained.map(|duplicate| duplicate.id.as_str()).collect();
    for id in &ids {
        println!("{id}:");
        for receipt in receipts.iter().filter(|receipt| story_id(&receipt.data).as_deref() == Some(id)) {
            println!(
                "  {} over connection {}: dot {} ms, reply {:?} {:?} ms, reply seen {}",
                id_in_trace(&receipt.text()),
                receipt.connection,
                ms(receipt.dot_at),
                receipt.replied,
                receipt.replied_at.map(ms),
                receipt.reply_seen,
            );
        }
    }
    if !ids.is_empty() {
        let ledger = work.ledger.lock().expect("the clients have ended");
        let kills: Vec<String> = ledger.kills().map(|(from, to)| format!("{}-{}", ms(from), ms(to))).collect();
        println!("kills at {} ms", kills.join(", "));
    }
}

/// Waits until all that was taken has gone.
fn settle(server: &Server, work: &Work, sink: &Sink) {
    until_within(Duration::from_secs(120), "an empty queue", || {
        let queue = server.admin("/queue");
        let empty = ["queued", "in_flight", "held"].iter().all(|key| queue[key] == 0);
        let ledger = work.ledger.lock().expect("the clients have ended");
        (empty && ledger.all_arrived(&sink.receipts())).then_some(())
    });
}

/// What the server knows of each message: by the id that the reply told, or that the arrived message carries.
fn history(server: &Server, work: &Work, receipts: &[Receipt]) -> BTreeMap<String, String> {
    let mut ids = work.ids.lock().expect("the clients have ended").clone();
    for receipt in receipts {
        let story = story_id(&receipt.data).unwrap_or_default();
        ids.entry(story).or_insert_with(|| id_in_trace(&receipt.text()));
    }
    let state = |id: &str| server.wait_for_final_state(id);
    ids.into_iter().map(|(story, id)| (story, state(&id))).collect()
}

/// The message id in our own Received field (`id …`).
fn id_in_trace(text: &str) -> String {
    let words: Vec<&str> = text.split([' ', ';', '\r', '\n', '\t']).collect();
    let id = words.windows(2).find(|pair| pair[0] == "id" && pair[1].len() == 36).map(|pair| pair[1]);
    id.unwrap_or_else(|| panic!("no id in the trace: {}", &text[..text.len().min(600)])).to_owned()
}
