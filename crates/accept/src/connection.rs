//! The pump of one session: sockets, TLS and deadlines, and nothing else.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::{Enhanced, Envelope, Origin, Reply};
use bytes::BytesMut;
use smtp::server::{Credentials, Input, Login, Offer, Output, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use crate::admission::{self, Principal};
use crate::counters::Counters;
use crate::door::{Arrival, Submission, stopping};
use crate::listener::{Entrance, ListenerConfig, Tls, timed_out, told_to_stop};
use crate::occupancy::Seat;
use crate::pace::{Late, Pace};
use crate::tls::Certificate;

/// A connection's read buffer.
pub const READ_OCTETS: usize = 8 * 1024;
/// The same, while more of a content comes than that holds.
pub const CONTENT_READ_OCTETS: usize = 64 * 1024;

/// How much is read, and for how long, of a client that goes on sending after our last words.
const LINGER_OCTETS_MAX: usize = 1024 * 1024;
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// Somebody who has connected and has a seat.
pub(crate) struct Guest {
    pub client: IpAddr,
    /// Set for a trusted network.
    pub principal: Option<Principal>,
    pub seat: Seat,
}

/// Carries on one session to its end.
pub(crate) async fn attend(
    stream: TcpStream,
    guest: Guest,
    config: &ListenerConfig,
    offer: Arc<Offer>,
    entrance: &Entrance,
    stop: watch::Receiver<bool>,
) {
    let Guest { client, principal, seat } = guest;
    let _open = Open::new(entrance.counters());
    let ended = match &config.tls {
        Tls::None => Pump::new(entrance, offer, client, principal, false).converse(stream, stop).await.map(drop),
        Tls::Implicit(certificate) => match handshake(stream, certificate, entrance).await {
            Ok(stream) => Pump::new(entrance, offer, client, principal, true).converse(stream, stop).await.map(drop),
            Err(error) => Err(error),
        },
        Tls::Starttls(certificate) => {
            let pump = Pump::new(entrance, offer, client, principal, false);
            in_the_clear_first(pump, stream, certificate, entrance, stop).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%client, %error, "a connection broke");
    }
    drop(seat);
}

async fn in_the_clear_first(
    mut pump: Pump<'_>,
    mut stream: TcpStream,
    certificate: &Certificate,
    entrance: &Entrance,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    if pump.converse(&mut stream, stop.clone()).await? == Next::StartTls {
        let stream = handshake(stream, certificate, entrance).await?;
        pump.tls_started();
        pump.converse(stream, stop).await?;
    }
    Ok(())
}

async fn handshake(
    stream: TcpStream,
    certificate: &Certificate,
    entrance: &Entrance,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(certificate.config(Instant::now()));
    let shaken = timeout(entrance.limits.handshake_time_max, acceptor.accept(stream)).await;
    match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => {
            entrance.counters().count(|c| &c.tls_handshakes);
            Ok(stream)
        }
        Err(error) => {
            entrance.counters().count(|c| &c.tls_failures);
            Err(error)
        }
    }
}

/// Counts a connection while it is there.
struct Open<'a>(&'a Counters);

impl Open<'_> {
    fn new(counters: &Counters) -> Open<'_> {
        counters.count(|c| &c.connections);
        counters.count(|c| &c.connections_open);
        Open(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a conversation over one stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Close,
    StartTls,
}

/// What a wait came to.
enum Event {
    Read(io::Result<usize>),
    Stop,
    Alarm,
}

/// A session with all that belongs to it but its stream.
pub(crate) struct Pump<'a> {
    entrance: &'a Entrance,
    client: IpAddr,
    session: Session,
    buffer: BytesMut,
    /// The last read filled the buffer, so more waits.
    filled: bool,
    principal: Option<Principal>,
    submission: Option<Submission>,
    pace: Pace,
}

impl<'a> Pump<'a> {
    pub(crate) fn new(
        entrance: &'a Entrance,
        offer: Arc<Offer>,
        client: IpAddr,
        principal: Option<Principal>,
        tls: bool,
    ) -> Pump<'a> {
        Pump {
            entrance,
            client,
            session: Session::new(offer, entrance.limits.session, tls),
            buffer: BytesMut::with_capacity(READ_OCTETS),
            filled: false,
            principal,
            submission: None,
            pace: Pace::new(Instant::now()),
        }
    }

    fn tls_started(&mut self) {
        self.buffer.clear();
        self.session.handle(Input::TlsStarted);
    }

    /// Speaks with the client until the session ends or TLS is to start.
    ///
    /// # Errors
    /// The connection broke, or the client took no reply.
    pub(crate) async fn converse<S>(&mut self, mut stream: S, mut stop: watch::Receiver<bool>) -> io::Result<Next>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Both are made once: a wait costs no allocation and no new timer.
        let mut stopped = pin!(told_to_stop(&mut stop));
        let mut alarm = pin!(sleep_until(self.pace.deadline(&self.entrance.limits).0));
        loop {
            if let Some(next) = self.drain(&mut stream).await? {
                if next == Next::Close {
                    self.part(&mut stream).await;
                }
                return Ok(next);
            }
            let in_message = self.session.in_message();
            self.pace.waiting(in_message, Instant::now());
            let (deadline, _) = self.pace.deadline(&self.entrance.limits);
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            self.make_room();
            let stop = (!self.pace.is_stopping()).then_some(stopped.as_mut());
            match next_event(&mut stream, &mut self.buffer, stop, alarm.as_mut()).await {
                Event::Read(Ok(0)) => {
                    self.gone();
                    return Ok(Next::Close);
                }
                Event::Read(Ok(octets)) => {
                    self.filled = self.buffer.len() == self.buffer.capacity();
                    self.pace.read(octets, in_message, Instant::now());
                }
                Event::Read(Err(error)) => {
                    self.gone();
                    return Err(error);
                }
                Event::Stop => {
                    self.pace.stop(Instant::now());
                    self.session.handle(Input::Leave(stopping()));
                }
                Event::Alarm => {
                    self.ring(Instant::now());
                    alarm.as_mut().reset(self.pace.deadline(&self.entrance.limits).0);
                }
            }
        }
    }

    /// The message under way, if there is one, is lost.
    fn gone(&mut self) {
        if self.submission.take().is_some() {
            self.entrance.counters().refused(|c| &c.refused_unfinished);
        }
    }

    /// Closes such that the last words arrive: while octets of the client are unread, closing would
    /// reset the connection and take the reply with it.
    async fn part<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) {
        let buffer = &mut self.buffer;
        let goodbye = async {
            stream.shutdown().await?;
            let mut unread = 0;
            while unread < LINGER_OCTETS_MAX {
                buffer.clear();
                buffer.reserve(READ_OCTETS);
                match stream.read_buf(buffer).await? {
                    0 => break,
                    octets => unread += octets,
                }
            }
            io::Result::Ok(())
        };
        // Whatever comes of it, the connection is closed.
        drop(timeout(LINGER_TIME_MAX, goodbye).await);
    }

    /// The buffer grows only where a client fills it with content, and shrinks again behind it.
    fn make_room(&mut self) {
        let (len, capacity) = (self.buffer.len(), self.buffer.capacity());
        if self.session.in_content() && self.filled {
            self.buffer.reserve(CONTENT_READ_OCTETS.saturating_sub(len).max(READ_OCTETS));
        } else if len == 0 && capacity > 2 * READ_OCTETS && !self.session.in_content() {
            self.buffer = BytesMut::with_capacity(READ_OCTETS);
        } else if capacity - len < READ_OCTETS / 2 {
            // Mostly this moves what is there to the front, and allocates nothing.
            self.buffer.reserve(READ_OCTETS.saturating_sub(len).max(READ_OCTETS / 2));
        }
    }

    /// A deadline may have passed.
    fn ring(&mut self, now: Instant) {
        let (deadline, late) = self.pace.deadline(&self.entrance.limits);
        if now < deadline {
            // It was moved since the alarm was set.
            return;
        }
        if late == Late::Aged {
            self.pace.leave();
            return self.session.handle(Input::Leave(timed_out("The session has lasted long enough, connect again")));
        }
        self.entrance.counters().count(|c| &c.connections_timed_out);
        self.gone();
        self.session.handle(match late {
            Late::Idle => Input::Idle,
            Late::Slow => Input::Cut(timed_out("The content comes too slowly")),
            Late::Aged | Late::Overaged => Input::Cut(timed_out("The session has lasted too long")),
            Late::Drained => Input::Cut(stopping()),
        });
    }

    /// Does what the session says, until it waits for the client.
    async fn drain<S>(&mut self, stream: &mut S) -> io::Result<Option<Next>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let entrance = self.entrance;
        loop {
            let Some(output) = self.session.poll(&mut self.buffer) else { return Ok(None) };
            let answer = match output {
                Output::Send(text) => {
                    send(stream, text, entrance.limits.write_time_max).await?;
                    self.pace.replied(Instant::now());
                    continue;
                }
                Output::Body(piece) => {
                    if let Some(submission) = &mut self.submission {
                        submission.write(piece);
                    }
                    continue;
                }
                Output::CheckMail { envelope, .. } => {
                    let verdict = admission::mail(&*entrance.directory, self.principal.as_ref(), envelope);
                    if verdict.is_err() {
                        entrance.counters().count(|c| &c.senders_refused);
                    }
                    Input::Mail(verdict)
                }
                Output::CheckRecipient { recipient, .. } => {
                    Input::Recipient(admission::recipient(self.principal.as_ref(), recipient))
                }
                Output::BeginData(envelope) => Input::Begin(self.begin(envelope)),
                Output::EndData => match self.submission.take() {
                    Some(submission) => Input::Stored(submission.finish().await),
                    None => Input::Stored(Err(Reply::new(451, Enhanced(4, 3, 0), "No message was begun"))),
                },
                Output::AbortData => {
                    if self.submission.take().is_some() {
                        entrance.counters().refused(|c| &c.refused_content);
                    }
                    continue;
                }
                Output::Authenticate(credentials) => Input::Authenticated(self.authenticate(credentials).await),
                Output::StartTls => return Ok(Some(Next::StartTls)),
                Output::Close => return Ok(Some(Next::Close)),
            };
            self.session.handle(answer);
        }
    }

    fn begin(&mut self, envelope: Envelope) -> Result<(), Reply> {
        let Some(principal) = &self.principal else {
            return Err(Reply::new(554, Enhanced(5, 7, 1), "Relaying denied"));
        };
        let known = self.session.client();
        let arrival = Arrival {
            origin: Origin::Smtp { client: self.client, helo: known.helo.clone(), tls: known.tls },
            extended: known.extended,
            authenticated: known.authenticated,
        };
        self.submission = Some(self.entrance.door.begin(principal, arrival, envelope)?);
        Ok(())
    }

    async fn authenticate(&mut self, credentials: Credentials) -> Login {
        let Entrance { throttle, directory, limits, .. } = self.entrance;
        let Credentials { user, secret, .. } = credentials;
        let delay = throttle.delay(self.client, &user, Instant::now());
        if !delay.is_zero() {
            tokio::time::sleep(delay.min(limits.auth_delay_max)).await;
        }
        match directory.authenticate(&user, &secret, self.client) {
            Some(principal) => {
                throttle.succeeded(self.client, &user, Instant::now());
                self.entrance.counters().count(|c| &c.auth_successes);
                self.principal = Some(principal);
                Login::Accepted
            }
            None => {
                throttle.failed(self.client, &user, Instant::now());
                self.entrance.counters().count(|c| &c.auth_failures);
                tracing::info!(client = %self.client, "a login failed");
                Login::Rejected
            }
        }
    }
}

/// Waits for whatever comes first. Stopping and lateness go before reading: a client that never pauses
/// must not keep them from being seen.
async fn next_event<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    stop: Option<std::pin::Pin<&mut impl Future<Output = ()>>>,
    alarm: std::pin::Pin<&mut Sleep>,
) -> Event {
    let stopped = async {
        match stop {
            Some(stop) => stop.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stopped => Event::Stop,
        () = alarm => Event::Alarm,
        read = stream.read_buf(buffer) => Event::Read(read),
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, text: &[u8], time_max: Duration) -> io::Result<()> {
    let sent = timeout(time_max, async {
        stream.write_all(text).await?;
        stream.flush().await
    });
    sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests;
