//! Stories about the whole program, told from outside: the real binary, real sockets, and wherever possible mail
//! programs that nobody here wrote. One file in `tests/` is one story.
//!
//! Most begin with a [`Relay`]: a Postrider in live mode, whose mail for `example.test` goes to a sink. What other
//! programs need to be told stands in `clients/`. `scripts/setup-tests` installs them; `make story NAME=crash` builds
//! the program and tells one story.

pub mod fuzz;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::server::Builder;
use testkit::{Act, Client, Program, Receipt, Server, Sink, Step, target_directory};

/// A Postrider in live mode and the far end of `example.test`.
#[derive(Debug)]
pub struct Relay {
    pub server: Server,
    pub sink: Sink,
}

impl Relay {
    #[track_caller]
    pub fn start(name: &str) -> Relay {
        Relay::with(name, Sink::start(), |builder| builder)
    }

    /// With this sink, and a configuration with more in it.
    #[track_caller]
    pub fn with(name: &str, sink: Sink, more: impl FnOnce(Builder) -> Builder) -> Relay {
        let builder = Server::builder(name).live().host("example.test", sink.address());
        Relay { server: more(builder).start(), sink }
    }

    /// Sends one message over a connection of its own, and waits until it is at the far end.
    #[track_caller]
    pub fn pass(&self, id: &str) -> Receipt {
        let mut client = self.server.login();
        client.send("ada@sender.test", &["bob@example.test"], &testkit::Message::new(id).bytes());
        client.quit();
        self.wait_for(id)
    }

    /// Waits for the message with this story id.
    #[track_caller]
    pub fn wait_for(&self, id: &str) -> Receipt {
        wait_for(&self.sink, id)
    }

    /// The protocol was kept to, by the letter.
    #[track_caller]
    pub fn expect_no_violations(&self) {
        assert_eq!(self.sink.violations(), Vec::<String>::new());
    }
}

/// A far end that puts every recipient off until it is told to take mail.
#[derive(Debug)]
pub struct Gate {
    open: Arc<AtomicBool>,
}

impl Gate {
    /// A sink, and the gate before it, closed.
    #[track_caller]
    pub fn closed() -> (Sink, Gate) {
        let open = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&open);
        let sink = Sink::scripted(move |event| match event.step {
            Step::Rcpt if !seen.load(Ordering::SeqCst) => Act::reply("451 4.7.1 come again"),
            _ => Act::Accept,
        });
        (sink, Gate { open })
    }

    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

/// Waits for the message with this story id at a sink.
#[track_caller]
pub fn wait_for(sink: &Sink, id: &str) -> Receipt {
    sink.wait_until(&format!("message {id}"), |receipt| {
        testkit::message::story_id(&receipt.data).as_deref() == Some(id) && receipt.replied == Some(250)
    })
}

/// A file of `clients/`.
pub fn client_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// A Python script of `clients/`.
pub fn python(script: &str) -> Program {
    Program::new("python3").arg(client_file(script))
}

/// A Node script of `clients/node`, with the modules that `scripts/setup-tests` installed.
pub fn node(script: &str) -> Program {
    let modules = target_directory().join("node/node_modules");
    assert!(modules.exists(), "{} is not there: run scripts/setup-tests", modules.display());
    Program::new("node").env("NODE_PATH", modules).arg(client_file(&format!("node/{script}")))
}

/// How a mail program secures its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Begins in the clear, then STARTTLS.
    StartTls,
    /// TLS from the first byte.
    Implicit,
}

impl Security {
    pub const ALL: [Security; 2] = [Security::StartTls, Security::Implicit];

    /// Where to connect for it.
    pub fn address(self, server: &Server) -> SocketAddr {
        match self {
            Security::StartTls => server.smtp(),
            Security::Implicit => server.smtps(),
        }
    }
}

/// A client that has said EHLO and is logged in, in the clear, where the listener trusts it or has no TLS.
#[track_caller]
pub fn greeted(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.ehlo();
    client
}
