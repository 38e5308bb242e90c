//! What the stories are told with: the real server, sinks that receive (or misbehave), a raw client, a zone, other
//! people's mail programs, and the ledger that compares what everybody says.
//!
//! The words of the trade:
//! - [`Server`] starts the real `postrider` binary in a directory of its own, waits until it accepts mail, kills it,
//!   restarts it, stops it. It is always reaped; its directory is kept when the test fails.
//! - [`Sink`] is the far end: a mail server that records the envelope and the bytes, checks that its peer keeps to
//!   the protocol, and does whatever a [`sink::Script`] says at each step (refuse, delay, reset, talk nonsense).
//! - [`Client`] speaks SMTP line by line, also wrongly.
//! - [`Zone`] is a DNS server that answers as told, also with failures and silence.
//! - [`Program`] runs another program with a deadline and takes what it prints; [`Daemon`] keeps one running.
//! - [`peers`] are Postfix, Exim and OpenSMTPD, each with a configuration of its own on a port of its own.
//! - [`Ledger`] is the three-way comparison that ends every fault test: what the client was told, what the sink
//!   received, what the history says.
//!
//! Rules: nothing sleeps in the hope that something has happened meanwhile; whoever waits names the event and a
//! deadline. No fixed ports. No shared state: each test has its own of everything. A story that cannot go on has
//! failed, so the kit panics with the reason instead of returning errors; where a failure is part of the story, there
//! is a method whose name begins with `try_`.

pub mod client;
pub mod daemon;
pub mod dns;
pub mod http;
pub mod ledger;
pub mod message;
pub mod peers;
pub mod program;
pub mod scratch;
pub mod server;
pub mod sink;
pub mod tls;
pub mod wait;
mod wire;

pub use client::{Client, Reply};
pub use daemon::Daemon;
pub use dns::Zone;
pub use ledger::Ledger;
pub use message::Message;
pub use program::{Finished, Program};
pub use scratch::Scratch;
pub use server::Server;
pub use sink::{Act, Event, Receipt, Sink, Step};
pub use wait::{DEADLINE, try_until, until};

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// A port of loopback that nobody listens on now. For programs that cannot pick one themselves; another process may
/// take it first, which the program then says.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// `127.0.0.1` with [`free_port`].
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is where it was built")
}

/// Where Cargo builds, and where `scripts/setup-tests` puts what it fetched.
pub fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => repository().join(directory),
        None => repository().join("target"),
    }
}
