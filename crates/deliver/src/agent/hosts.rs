//! From a plan to an open connection: hosts in order, TLS where it works.

use std::net::SocketAddr;
use std::sync::Arc;

use base::{Enhanced, Reply, ReplyClass, Step};
use route::{RoutePlan, TlsPolicy};
use smtp::client::{Failure, Phase, RecipientReport, StartTls};
use spool::SpoolError;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::transfer::{Job, Transferred, takes_no_mail};
use super::{Agent, Disposition, Settled, SiteReport};
use crate::connection::{Event, OpenConnection, micros_since};

/// Why a host was left for the next one.
struct Passed {
    reply: Reply,
    /// The server spoke, and its reply is the reason.
    has_spoken: bool,
}

impl Job<'_> {
    /// Tries the hosts of the plan until one of them has answered.
    pub async fn on_hosts(&mut self, plan: &RoutePlan) -> Result<Settled, SpoolError> {
        let config = &self.agent.config;
        let opening_until = self.began + config.opening_max;
        let mut last: Option<Passed> = None;
        let mut takes_mail = false;
        let all = plan.hosts.iter().flat_map(|host| host.addresses.iter().map(move |address| (&*host.name, *address)));
        let addresses: Vec<(&str, SocketAddr)> = all.take(config.addresses_max).collect();
        for (name, address) in addresses {
            if Instant::now() >= opening_until {
                break;
            }
            let passed = match self.open_connection(plan, name, address).await {
                Ok(connection) if config.is_ourselves(connection.peer_name()) => {
                    return Ok(self.loops_back(connection));
                }
                Ok(connection) => match self.transfer(connection).await? {
                    Transferred::Settled(settled) => return Ok(settled),
                    // 421 is the one thing that it can have said.
                    Transferred::Unheard(reply) => Passed { has_spoken: reply.code == 421, reply },
                },
                Err(passed) => passed,
            };
            takes_mail |= !(passed.has_spoken && takes_no_mail(&passed.reply));
            last = Some(passed);
        }
        Ok(self.nobody_there(last, takes_mail))
    }

    /// What is said when no host is left.
    fn nobody_there(&mut self, last: Option<Passed>, takes_mail: bool) -> Settled {
        let Some(passed) = last else {
            let reply = Reply::new(451, Enhanced(4, 4, 4), "the site has no server with an address");
            return Settled { site: SiteReport::Unreachable(reply), connection: None };
        };
        let is_slow = passed.has_spoken && passed.reply.class() == ReplyClass::Temporary;
        let site = if !takes_mail {
            // Each of its servers says that it takes no mail at all (RFC 7504 §4).
            self.decide(Disposition::Permanent, &passed.reply);
            SiteReport::Reached
        } else if is_slow {
            self.decide(Disposition::Temporary { maybe_delivered: false }, &passed.reply);
            SiteReport::Slow
        } else {
            SiteReport::Unreachable(passed.reply)
        };
        Settled { site, connection: None }
    }

    /// A server that introduces itself by our name.
    fn loops_back(&mut self, connection: OpenConnection) -> Settled {
        self.server = connection.server().into();
        tokio::spawn(connection.goodbye());
        let reply = Reply::new(554, Enhanced(5, 4, 6), "mail for this domain loops back to this server");
        self.decide(Disposition::Permanent, &reply);
        Settled { site: SiteReport::Reached, connection: None }
    }

    /// All who are left get this.
    fn decide(&mut self, disposition: Disposition, reply: &Reply) {
        self.results.extend(self.left.drain(..).map(|recipient| RecipientReport {
            recipient,
            disposition,
            reply: reply.clone(),
        }));
    }

    /// A connection that is ready for a transaction. TLS that does not work is given up for plaintext
    /// on a new connection, for the plan asks for no more.
    async fn open_connection(
        &mut self,
        plan: &RoutePlan,
        host: &str,
        address: SocketAddr,
    ) -> Result<OpenConnection, Passed> {
        let TlsPolicy::Opportunistic = plan.tls;
        if self.agent.is_plaintext(host) {
            let at_us = micros_since(self.agent.epoch, Instant::now());
            let received = "TLS with this host failed a short while ago";
            self.dialogue.push(Step { at_us, took_us: 0, sent: "[plaintext]".into(), received: received.into() });
            return self.greet(StartTls::Never, host, address).await.map_err(passed);
        }
        match self.greet(StartTls::WhenOffered, host, address).await {
            Err(Failure::Handshake(_) | Failure::TimedOut(Phase::Handshake)) => {
                self.agent.remember_plaintext(host);
                self.greet(StartTls::Never, host, address).await
            }
            other => other,
        }
        .map_err(passed)
    }

    /// Connects, and goes on until the server is ready or it is clear that it will not be.
    async fn greet(&mut self, starttls: StartTls, host: &str, address: SocketAddr) -> Result<OpenConnection, Failure> {
        let agent = self.agent;
        let settings = Arc::clone(if starttls == StartTls::Never { &agent.never } else { &agent.when_offered });
        let began_us = micros_since(agent.epoch, Instant::now());
        let connected = connect(agent, address, self.until).await;
        let words = connected.as_ref().map_or_else(|failure| failure.to_string(), |_| "connected".to_owned());
        self.dialogue.push(Step {
            at_us: began_us,
            took_us: micros_since(agent.epoch, Instant::now()).saturating_sub(began_us),
            sent: format!("[connect {address}]").into(),
            received: words.into(),
        });
        let server = format!("{host} [{}]:{}", address.ip(), address.port()).into();
        let mut connection = OpenConnection::new(connected?, server, settings, agent.epoch);
        loop {
            let event = connection.next(self.until).await;
            match event {
                Event::StartTls => connection.start_tls(&agent.handshaker, host, self.until).await,
                Event::Ready => {
                    self.dialogue.extend(connection.take_dialogue());
                    return Ok(connection);
                }
                Event::Failed(failure) => {
                    self.dialogue.extend(connection.take_dialogue());
                    self.server = connection.server().into();
                    return Err(failure);
                }
                Event::NeedBody | Event::Finished(_) => {}
                Event::Closed => return Err(Failure::Closed),
            }
        }
    }
}

fn passed(failure: Failure) -> Passed {
    Passed { has_spoken: matches!(failure, Failure::Refused { .. } | Failure::Closing(_)), reply: failure.reply() }
}

async fn connect(agent: &Agent, address: SocketAddr, until: Instant) -> Result<TcpStream, Failure> {
    let config = &agent.config;
    let broken = |error: std::io::Error| Failure::Broken(error.to_string().into());
    let (socket, source) = match address {
        SocketAddr::V4(_) => (TcpSocket::new_v4(), config.source_v4.map(std::net::IpAddr::from)),
        SocketAddr::V6(_) => (TcpSocket::new_v6(), config.source_v6.map(std::net::IpAddr::from)),
    };
    let socket = socket.map_err(broken)?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0)).map_err(broken)?;
    }
    let until = until.min(Instant::now() + config.connect);
    match tokio::time::timeout_at(until, socket.connect(address)).await {
        Err(_) => Err(Failure::TimedOut(Phase::Greeting)),
        Ok(Err(error)) => Err(broken(error)),
        Ok(Ok(stream)) => {
            // Each of our writes is a whole group of commands: nothing is gained by waiting for more.
            stream.set_nodelay(true).map_err(broken)?;
            Ok(stream)
        }
    }
}
