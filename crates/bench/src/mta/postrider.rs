//! Postrider as in production, but for a listener that trusts loopback.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::{Server, free_address};

use super::{DEAD_DOMAIN, Place, SINK_DOMAIN};
use crate::process::Tree;

pub struct Postrider {
    address: SocketAddr,
    server: Server,
}

impl Postrider {
    pub fn start(place: &Place, sink: SocketAddr, under: &[String]) -> Postrider {
        let address = free_address();
        let server = Server::builder("bench")
            .serve()
            .within(&place.directory)
            .program(&place.program)
            .under(under.iter().cloned())
            .live()
            .host(SINK_DOMAIN, sink)
            // Nobody listens there: connecting is refused at once.
            .host(DEAD_DOMAIN, free_address())
            .trusting_listener(address)
            .start();
        Postrider { address, server }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn tree(&self) -> Tree {
        Tree::of(self.server.ready().pid)
    }

    /// Kills it hard and starts it again. How long it took until it accepted mail.
    pub fn kill_and_restart(&mut self) -> Duration {
        self.server.kill();
        self.server.start()
    }
}
