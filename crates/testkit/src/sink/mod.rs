//! The far end: a mail server that takes mail, and misbehaves when it is told to.
//!
//! A sink listens on a port of loopback, one thread a connection. It records each message with its envelope at the
//! moment its final dot is in, before it answers: what a peer that dies in between will send again is there twice. It
//! also watches its peer: a bare LF, a parameter that was not offered, a command sent ahead without PIPELINING, 8-bit
//! content without BODY=8BITMIME become [`Sink::violations`].

mod script;
mod session;

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

pub use script::{Act, Event, Script, Step};

use crate::tls::{self, Certificate};
use crate::wait::DEADLINE;

/// One message as it arrived.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Which connection to the sink, from 1.
    pub connection: usize,
    /// When the sink took that connection.
    pub connected_at: Instant,
    pub tls: bool,
    /// What EHLO or HELO named.
    pub helo: String,
    /// The reverse path, without its brackets; empty for `<>`.
    pub from: String,
    /// The parameters of MAIL, as they came.
    pub parameters: Vec<String>,
    /// Those that were accepted.
    pub recipients: Vec<Recipient>,
    /// The content, dots unstuffed.
    pub data: Vec<u8>,
    /// When the final dot was in.
    pub dot_at: Instant,
    /// The code of the reply to it; `None` while it is not sent, or the connection broke first.
    pub replied: Option<u16>,
    /// When that reply was sent.
    pub replied_at: Option<Instant>,
    /// Whether the peer sent anything after it: so it surely read the reply.
    pub reply_seen: bool,
}

impl Receipt {
    /// The addresses of the accepted recipients.
    pub fn to(&self) -> Vec<&str> {
        self.recipients.iter().map(|recipient| recipient.address.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub address: String,
    pub parameters: Vec<String>,
}

/// How a sink is set up.
pub struct Builder {
    pub(crate) extensions: Vec<String>,
    certificate: Option<Certificate>,
    script: Option<Box<Script>>,
    address: SocketAddr,
    keep_bodies: bool,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("extensions", &self.extensions).finish_non_exhaustive()
    }
}

impl Builder {
    /// What EHLO offers, in place of everything there is.
    pub fn extensions(mut self, extensions: &[&str]) -> Builder {
        self.extensions = extensions.iter().map(|extension| (*extension).to_owned()).collect();
        self
    }

    /// Offers STARTTLS with such a certificate.
    pub fn starttls(mut self, certificate: Certificate) -> Builder {
        self.certificate = Some(certificate);
        self
    }

    /// What it does at each step.
    pub fn script(mut self, script: impl Fn(&Event<'_>) -> Act + Send + Sync + 'static) -> Builder {
        self.script = Some(Box::new(script));
        self
    }

    /// Listens here and not on a free port of 127.0.0.1.
    pub fn address(mut self, address: SocketAddr) -> Builder {
        self.address = address;
        self
    }

    /// Keeps the header of each message only: for runs of very many.
    pub fn headers_only(mut self) -> Builder {
        self.keep_bodies = false;
        self
    }

    #[track_caller]
    pub fn start(self) -> Sink {
        let listener = TcpListener::bind(self.address).expect("the sink's address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut extensions = self.extensions;
        let tls = self.certificate.map(tls::server_config);
        if tls.is_some() {
            extensions.push("STARTTLS".to_owned());
        }
        let shared = Arc::new(Shared {
            extensions,
            tls,
            script: self.script.unwrap_or_else(|| Box::new(|_| Act::Accept)),
            keep_bodies: self.keep_bodies,
            ledger: Mutex::default(),
            changed: Condvar::new(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Sink { address, shared, acceptor: Some(acceptor) }
    }
}

/// A running sink. Dropping it cuts all its connections.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Sink {
    /// One that takes everything, in plain, with every extension.
    #[track_caller]
    pub fn start() -> Sink {
        Sink::builder().start()
    }

    /// One that does as the script says.
    #[track_caller]
    pub fn scripted(script: impl Fn(&Event<'_>) -> Act + Send + Sync + 'static) -> Sink {
        Sink::builder().script(script).start()
    }

    pub fn builder() -> Builder {
        let extensions = ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "SIZE 104857600"];
        Builder {
            extensions: extensions.map(str::to_owned).to_vec(),
            certificate: None,
            script: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            keep_bodies: true,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What arrived until now, in order of the final dots.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.shared.lock().receipts.clone()
    }

    /// How many connections came until now.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Where the peer broke the protocol.
    pub fn violations(&self) -> Vec<String> {
        self.shared.lock().violations.clone()
    }

    /// How often this step was reached.
    pub fn reached(&self, step: Step) -> usize {
        self.shared.lock().reached.get(&step).copied().unwrap_or(0)
    }

    /// Waits until this step was reached so often.
    #[track_caller]
    pub fn wait_for_step(&self, step: Step, times: usize) {
        let what = format!("{step:?} to be reached {times} times at the sink");
        self.wait(DEADLINE, &what, |ledger| ledger.reached.get(&step).copied().unwrap_or(0) >= times);
    }

    /// Waits until so many messages were accepted, and gives back everything that arrived.
    #[track_caller]
    pub fn wait_for(&self, messages: usize) -> Vec<Receipt> {
        self.wait_for_within(DEADLINE, messages)
    }

    #[track_caller]
    pub fn wait_for_within(&self, deadline: Duration, messages: usize) -> Vec<Receipt> {
        let what = format!("{messages} messages at the sink");
        self.wait(deadline, &what, |ledger| ledger.accepted() >= messages)
    }

    /// Waits for one message that is like this.
    #[track_caller]
    pub fn wait_until(&self, what: &str, like: impl Fn(&Receipt) -> bool) -> Receipt {
        let receipts = self.wait(DEADLINE, what, |ledger| ledger.receipts.iter().any(&like));
        receipts.into_iter().find(like).expect("it was just there")
    }

    #[track_caller]
    fn wait(&self, deadline: Duration, what: &str, done: impl Fn(&Ledger) -> bool) -> Vec<Receipt> {
        let ledger = self.shared.lock();
        let (ledger, waited) = self
            .shared
            .changed
            .wait_timeout_while(ledger, deadline, |ledger| !done(ledger))
            .expect("no thread panics with the ledger");
        assert!(
            !waited.timed_out(),
            "after {deadline:?} still waiting for {what}; {} accepted, {} arrived, {} connections, violations {:?}",
            ledger.accepted(),
            ledger.receipts.len(),
            self.connections(),
            ledger.violations,
        );
        ledger.receipts.clone()
    }

    /// Cuts all connections that are open now; new ones are taken.
    pub fn cut(&self) {
        self.shared.cut();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        self.shared.cut();
        // Wakes the acceptor, which then sees that it should stop.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            // Its panic, if any, was printed; a second one here would hide the story's own.
            let _ = acceptor.join();
        }
    }
}

/// What the sessions write and the story reads.
#[derive(Debug, Default)]
struct Ledger {
    receipts: Vec<Receipt>,
    violations: Vec<String>,
    reached: HashMap<Step, usize>,
}

impl Ledger {
    fn accepted(&self) -> usize {
        self.receipts.iter().filter(|receipt| receipt.replied == Some(250)).count()
    }
}

struct Shared {
    extensions: Vec<String>,
    tls: Option<Arc<rustls::ServerConfig>>,
    script: Box<Script>,
    keep_bodies: bool,
    ledger: Mutex<Ledger>,
    changed: Condvar,
    connections: AtomicUsize,
    open: Mutex<HashMap<usize, TcpStream>>,
    stopping: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no thread panics with the ledger")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((socket, _)) = listener.accept() {
            if self.stopping() {
                return;
            }
            let number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
            if let Ok(handle) = socket.try_clone() {
                self.open.lock().expect("no thread panics with the map").insert(number, handle);
            }
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // A broken connection is the peer's doing, or the script's; what matters is in the ledger.
                let _: io::Result<()> = session::run(&shared, socket, number);
                shared.forget(number);
            });
        }
    }

    /// Lets go of our own handle, so that closing the session's closes the connection.
    fn forget(&self, connection: usize) {
        self.open.lock().expect("no thread panics with the map").remove(&connection);
    }

    fn cut(&self) {
        for (_, socket) in self.open.lock().expect("no thread panics with the map").drain() {
            // The peer may have left.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Waits, but not beyond the end of the sink. Whether it still runs.
    fn pause(&self, time: Duration) -> bool {
        let ledger = self.lock();
        let waited = self.changed.wait_timeout_while(ledger, time, |_| !self.stopping());
        drop(waited.expect("no thread panics with the ledger"));
        !self.stopping()
    }
}
