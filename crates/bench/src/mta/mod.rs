//! The servers that are measured, each with what it keeps in a directory of its own.

mod postfix;
mod postrider;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use testkit::free_address;

use crate::process::Tree;

pub use postrider::Postrider;

/// The domain whose mail goes to the sink.
pub const SINK_DOMAIN: &str = "sink.test";
/// The domain whose server does not answer.
pub const DEAD_DOMAIN: &str = "dead.test";

/// Where servers live, and which Postrider is measured.
#[derive(Debug, Clone)]
pub struct Place {
    pub directory: PathBuf,
    pub program: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// No server: smtp-source straight to smtp-sink.
    Direct,
    Postfix,
    Postrider,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Direct => "direct",
            Kind::Postfix => "postfix",
            Kind::Postrider => "postrider",
        })
    }
}

/// A server that runs, and where its sink is to be.
pub struct Mta {
    kind: Kind,
    /// Where the load goes.
    address: SocketAddr,
    sink: SocketAddr,
    tree: Option<Tree>,
    /// Kept running until dropped.
    _running: Running,
}

enum Running {
    Nothing,
    Postfix { _server: postfix::Postfix },
    Postrider { _server: Box<Postrider> },
}

impl Mta {
    /// Starts it, `under` another program if one is given (strace).
    pub fn start(kind: Kind, place: &Place, under: &[String]) -> Result<Mta> {
        let sink = free_address();
        Ok(match kind {
            Kind::Direct => Mta { kind, address: sink, sink, tree: None, _running: Running::Nothing },
            Kind::Postfix => {
                let server = postfix::Postfix::start(place, sink, under);
                let (address, tree) = (server.address(), server.tree());
                Mta { kind, address, sink, tree: Some(tree), _running: Running::Postfix { _server: server } }
            }
            Kind::Postrider => {
                let server = Postrider::start(place, sink, under);
                let (address, tree) = (server.address(), server.tree());
                let running = Running::Postrider { _server: Box::new(server) };
                Mta { kind, address, sink, tree: Some(tree), _running: running }
            }
        })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn sink(&self) -> SocketAddr {
        self.sink
    }

    /// Its processes; none for the direct run.
    pub fn tree(&self) -> Option<Tree> {
        self.tree
    }
}
