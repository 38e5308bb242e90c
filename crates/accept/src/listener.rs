//! Sockets that mail comes in by.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{Enhanced, Reply};
use smtp::server::{AuthOffer, Offer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::admission::{Directory, Principal};
use crate::connection::{self, Guest};
use crate::counters::Counters;
use crate::door::Door;
use crate::limits::Limits;
use crate::network::Network;
use crate::occupancy::{NoSeat, Occupancy};
use crate::throttle::Throttle;
use crate::tls::Certificate;

/// Connections that wait in the kernel until we take them. The kernel has a limit of its own
/// (`net.core.somaxconn`), mostly 4096.
const BACKLOG: i32 = 4096;

/// How long no connection is taken after the system had no file descriptor or memory for one.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// When a listener speaks TLS.
#[derive(Debug, Clone)]
pub enum Tls {
    None,
    /// Begins in the clear and offers STARTTLS (RFC 3207).
    Starttls(Arc<Certificate>),
    /// From the first octet (RFC 8314).
    Implicit(Arc<Certificate>),
}

/// Who may send without a password.
#[derive(Debug, Clone)]
pub enum Trust {
    Nobody,
    /// Whoever runs on these networks, in this one's name.
    Networks {
        networks: Vec<Network>,
        principal: Principal,
    },
}

impl Trust {
    pub(crate) fn principal(&self, client: IpAddr) -> Option<&Principal> {
        match self {
            Trust::Networks { networks, principal } if networks.iter().any(|n| n.contains(client)) => Some(principal),
            _ => None,
        }
    }
}

/// One address on which mail is accepted.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// `[::]` takes IPv4 as well; port 0 is a free port.
    pub address: SocketAddr,
    pub tls: Tls,
    pub auth: AuthOffer,
    pub trust: Trust,
}

/// What all listeners share.
pub struct Entrance {
    pub(crate) door: Door,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) limits: Limits,
    pub(crate) throttle: Throttle,
    occupancy: Arc<Occupancy>,
}

impl Entrance {
    pub fn new(door: Door, directory: Arc<dyn Directory>, limits: Limits) -> Entrance {
        let occupancy = Arc::new(Occupancy::new(limits.connections_max, limits.connections_per_address_max));
        let throttle = Throttle::new(&limits, Instant::now());
        Entrance { door, directory, limits, throttle, occupancy }
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.door.counters()
    }
}

/// A listener that has its port.
#[derive(Debug)]
pub struct BoundListener {
    listener: TcpListener,
    local: SocketAddr,
    config: ListenerConfig,
}

impl BoundListener {
    /// Takes the port. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the port is taken, is not ours to take, or the address is not of this machine.
    pub fn bind(config: ListenerConfig) -> io::Result<BoundListener> {
        let socket = Socket::new(Domain::for_address(config.address), Type::STREAM, Some(Protocol::TCP))?;
        if config.address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // A restart must not wait for connections of the last run to be forgotten.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&config.address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let local = listener.local_addr()?;
        Ok(BoundListener { listener, local, config })
    }

    /// Where it listens: the port that was picked for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Takes connections until `stop` is true (or its sender gone), then waits until the sessions have
    /// ended, at most [`Limits::drain_time_max`] and the time to say so.
    pub async fn serve(self, entrance: Arc<Entrance>, stop: watch::Receiver<bool>) {
        let BoundListener { listener, local, config } = self;
        let config = Arc::new(config);
        let offer = Arc::new(offer(&config, &entrance));
        let mut sessions = JoinSet::new();
        let mut stopping = stop.clone();
        loop {
            tokio::select! {
                biased;
                () = told_to_stop(&mut stopping) => break,
                Some(ended) = sessions.join_next() => report(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let client = peer.ip().to_canonical();
                        let Some(guest) = admit(&stream, client, &config, &entrance) else { continue };
                        let (offer, config) = (Arc::clone(&offer), Arc::clone(&config));
                        let (entrance, stop) = (Arc::clone(&entrance), stop.clone());
                        sessions.spawn(async move { connection::attend(stream, guest, &config, offer, &entrance, stop).await });
                    }
                    Err(error) => wait_out(&error, local).await,
                },
            }
        }
        // The port is free from here on; who is in may finish.
        drop(listener);
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    }
}

fn offer(config: &ListenerConfig, entrance: &Entrance) -> Offer {
    Offer {
        starttls: matches!(config.tls, Tls::Starttls(_)),
        auth: config.auth,
        ..Offer::new(entrance.door.hostname().clone())
    }
}

/// Gives the connection a seat, or turns it away.
fn admit(stream: &TcpStream, client: IpAddr, config: &ListenerConfig, entrance: &Entrance) -> Option<Guest> {
    let principal = config.trust.principal(client).cloned();
    let seat = match entrance.occupancy.sit(client, principal.is_some()) {
        Ok(seat) => seat,
        Err(no_seat) => {
            entrance.counters().count(|c| &c.connections_refused);
            tracing::debug!(%client, ?no_seat, "a connection was turned away");
            if !matches!(config.tls, Tls::Implicit(_)) {
                let words = match no_seat {
                    NoSeat::Full => "421 4.7.0 Too many connections, try again later\r\n",
                    NoSeat::AddressFull => "421 4.7.0 Too many connections from your address, try again later\r\n",
                };
                // A fresh socket has room for it; if not, closing says the same.
                let _ = stream.try_write(words.as_bytes());
            }
            return None;
        }
    };
    // Replies are short and waited for; without it they would be held back (Nagle).
    let _ = stream.set_nodelay(true);
    Some(Guest { client, principal, seat })
}

/// After an error of `accept` there is mostly the next connection. But with no file descriptor left the
/// same error would come back at once, for ever.
async fn wait_out(error: &io::Error, local: SocketAddr) {
    let passing = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !passing {
        tracing::warn!(%error, %local, "no connection can be taken now, waiting");
        tokio::time::sleep(EXHAUSTED_PAUSE).await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session has failed");
    }
}

/// Waits until the server stops; when whoever could say so is gone, it stops as well.
pub(crate) async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

pub(crate) fn timed_out(text: &'static str) -> Reply {
    Reply::new(421, Enhanced(4, 4, 2), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_file_descriptors_the_listener_waits_instead_of_spinning() {
        let local = SocketAddr::from(([127, 0, 0, 1], 25));
        let begun = Instant::now();
        // EMFILE, ENFILE, ENOMEM: the next `accept` would fail the same way.
        for (waits, errno) in [24, 23, 12].into_iter().enumerate() {
            wait_out(&io::Error::from_raw_os_error(errno), local).await;
            assert_eq!(begun.elapsed(), EXHAUSTED_PAUSE * (waits as u32 + 1));
        }
        // ECONNABORTED: this client is gone, the next one is not.
        let begun = Instant::now();
        wait_out(&io::Error::from_raw_os_error(103), local).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error_and_any_address_takes_ipv4() {
        let config = |address: &str| ListenerConfig {
            address: address.parse().unwrap(),
            tls: Tls::None,
            auth: AuthOffer::Never,
            trust: Trust::Nobody,
        };
        let first = BoundListener::bind(config("127.0.0.1:0")).unwrap();
        let again = BoundListener::bind(config(&first.local_addr().to_string())).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        // Not every machine has IPv6.
        if let Ok(any) = BoundListener::bind(config("[::]:0")) {
            let (client, taken) =
                tokio::join!(TcpStream::connect(("127.0.0.1", any.local_addr().port())), any.listener.accept());
            drop(client.unwrap());
            assert_eq!(taken.unwrap().1.ip().to_canonical(), IpAddr::from([127, 0, 0, 1]));
        }
    }
}
