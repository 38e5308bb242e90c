//! One TCP connection to a server, plain or TLS, with the engine that speaks on it: the pump.
//!
//! It moves octets, does handshakes and keeps time, and decides nothing. Reading comes before writing,
//! so that a server that left is noticed before it is spoken to, and goes on while writing, so that
//! two full pipes cannot wait for each other (RFC 2920 §3.1).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base::Step;
use bytes::BytesMut;
use smtp::client::{self, Capabilities, Channel, Failure, Input, Output, Settings, Transaction, TransactionReport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::client::TlsStream;

use crate::tls;

/// A connection to a server, open for mail or on the way there.
pub struct OpenConnection {
    stream: Stream,
    /// Boxed, as connections are handed around a lot.
    engine: Box<client::Connection>,
    /// Octets that came and are no whole reply yet.
    inbox: BytesMut,
    /// All times of the engine count from here.
    epoch: Instant,
    timer: Pin<Box<Sleep>>,
    server: Box<str>,
    tls: Option<Box<str>>,
    transactions: u32,
    idle_since: Instant,
}

/// What the pump cannot decide.
#[derive(Debug)]
pub(crate) enum Event {
    /// Do the handshake ([`OpenConnection::start_tls`]).
    StartTls,
    Ready,
    Failed(Failure),
    NeedBody,
    Finished(Box<TransactionReport>),
    /// It is over; nothing more will come.
    Closed,
}

/// What a socket did.
enum Deed {
    Read,
    End,
    Wrote(usize),
    Broke(io::Error),
    Time,
}

/// Read at once at most. Replies are short.
const READ_OCTETS: usize = 4096;

impl OpenConnection {
    /// A connection that was just made.
    pub(crate) fn new(socket: TcpStream, server: Box<str>, settings: Arc<Settings>, epoch: Instant) -> OpenConnection {
        let now = Instant::now();
        OpenConnection {
            stream: Stream::Plain(socket),
            engine: Box::new(client::Connection::new(settings, Channel::Plain, micros_since(epoch, now))),
            inbox: BytesMut::with_capacity(READ_OCTETS),
            epoch,
            timer: Box::pin(tokio::time::sleep_until(now)),
            server,
            tls: None,
            transactions: 0,
            idle_since: now,
        }
    }

    /// `mx1.example.org [192.0.2.1]:25`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Protocol and cipher, if the connection is encrypted.
    pub fn tls(&self) -> Option<&str> {
        self.tls.as_deref()
    }

    /// Transactions that were begun on it.
    pub fn transactions(&self) -> u32 {
        self.transactions
    }

    /// Since when it has had nothing to do.
    pub fn idle_since(&self) -> Instant {
        self.idle_since
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        self.engine.capabilities()
    }

    /// How the server calls itself.
    pub(crate) fn peer_name(&self) -> &str {
        self.engine.peer_name()
    }

    pub(crate) fn take_dialogue(&mut self) -> Vec<Step> {
        self.engine.take_dialogue()
    }

    /// Whether one more transaction may be begun: none is open, and the server's own limit (RFC 9422
    /// MAILMAX) and `transactions_max` allow it.
    pub(crate) fn has_turn(&self, transactions_max: u32) -> bool {
        let offered = self.engine.capabilities().transactions_max.unwrap_or(u32::MAX);
        self.engine.is_idle() && self.transactions < transactions_max.min(offered)
    }

    /// Whether a connection that was kept is still there, and silent as it should be.
    pub fn is_usable(&mut self) -> bool {
        let mut octet = [0; 1];
        let mut read = ReadBuf::new(&mut octet);
        let mut context = Context::from_waker(Waker::noop());
        self.engine.is_idle() && Pin::new(&mut self.stream).poll_read(&mut context, &mut read).is_pending()
    }

    pub(crate) fn begin(&mut self, transaction: Transaction) {
        self.transactions += 1;
        self.tell(Input::Begin(transaction));
    }

    /// Tells the engine what happened.
    pub(crate) fn tell(&mut self, input: Input<'_>) {
        let now = Instant::now();
        self.idle_since = now;
        self.engine.handle(micros_since(self.epoch, now), input);
    }

    /// Goes on until something has to be decided, at the latest at `until`: then it is cut.
    pub(crate) async fn next(&mut self, until: Instant) -> Event {
        loop {
            let wait = self.deadline(until);
            let sending: &[u8] = match self.engine.poll() {
                None => &[],
                Some(Output::Send(octets)) => octets,
                Some(Output::StartTls) => return Event::StartTls,
                Some(Output::NeedBody) => return Event::NeedBody,
                Some(Output::Ready) => return Event::Ready,
                Some(Output::Failed(failure)) => return Event::Failed(failure),
                Some(Output::Finished(report)) => return Event::Finished(report),
                Some(Output::Close) => return Event::Closed,
            };
            arm(&mut self.timer, wait);
            let deed = work(&mut self.stream, sending, &mut self.inbox, &mut self.timer).await;
            self.done(deed, until).await;
        }
    }

    async fn done(&mut self, deed: Deed, until: Instant) {
        let now = Instant::now();
        let now_us = micros_since(self.epoch, now);
        match deed {
            Deed::Wrote(octets) => self.engine.handle(now_us, Input::Written(octets)),
            Deed::Read => self.engine.handle(now_us, Input::Received(&mut self.inbox)),
            Deed::End => self.engine.handle(now_us, Input::Closed),
            Deed::Broke(error) => {
                self.hear_last_words().await;
                self.tell(Input::Broken(&error.to_string()));
            }
            // The timer is only ever moved to an earlier time: it may be too early.
            Deed::Time if self.deadline(until) <= now => self.engine.handle(now_us, Input::TimedOut),
            Deed::Time => {}
        }
    }

    /// A server that does not want more says why and closes; writing then fails before that is read.
    async fn hear_last_words(&mut self) {
        let until = Instant::now() + LAST_WORDS;
        while let Ok(Ok(octets)) = tokio::time::timeout_at(until, self.stream.read_buf(&mut self.inbox)).await
            && octets > 0
        {
            let now_us = micros_since(self.epoch, Instant::now());
            self.engine.handle(now_us, Input::Received(&mut self.inbox));
        }
    }

    fn deadline(&self, until: Instant) -> Instant {
        let own = self.engine.deadline_us().map(|us| self.epoch + Duration::from_micros(us));
        own.map_or(until, |own| own.min(until))
    }

    /// Does the handshake. The engine hears how it went.
    pub(crate) async fn start_tls(&mut self, with: &tls::Handshaker, host: &str, until: Instant) {
        let wait = self.deadline(until);
        let socket = match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(socket) => socket,
            other => {
                self.stream = other;
                return self.tell(Input::TlsFailed("the connection is not a plain one"));
            }
        };
        let address = match socket.peer_addr() {
            Ok(address) => address,
            Err(error) => return self.tell(Input::Broken(&error.to_string())),
        };
        match tokio::time::timeout_at(wait, with.start(host, address, socket)).await {
            Err(_) => self.tell(Input::TimedOut),
            Ok(Err(why)) => self.tell(Input::TlsFailed(&why)),
            Ok(Ok(stream)) => {
                let words = tls::describe(&stream);
                self.stream = Stream::Tls(Box::new(stream));
                self.tell(Input::TlsStarted(&words));
                self.tls = Some(words.into());
            }
        }
    }

    /// Says QUIT and waits a little for the answer.
    pub async fn goodbye(mut self) {
        self.tell(Input::Quit);
        let until = Instant::now() + GOODBYE;
        while !matches!(self.next(until).await, Event::Closed) {}
        if let Stream::Tls(stream) = &mut self.stream {
            // close_notify is a courtesy; whether it arrives changes nothing.
            let _ = tokio::time::timeout_at(until, tokio::io::AsyncWriteExt::shutdown(stream)).await;
        }
    }
}

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a broken connection is listened to.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl std::fmt::Debug for OpenConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenConnection").field("server", &self.server).field("tls", &self.tls).finish_non_exhaustive()
    }
}

pub(crate) fn micros_since(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_micros()).unwrap_or(u64::MAX)
}

/// Moves the timer only if it would be late: most deadlines are never met, and each move costs.
fn arm(timer: &mut Pin<Box<Sleep>>, deadline: Instant) {
    if timer.is_elapsed() || timer.deadline() > deadline || timer.deadline() <= Instant::now() {
        timer.as_mut().reset(deadline);
    }
}

/// Waits until the socket gave or took something.
async fn work(stream: &mut Stream, sending: &[u8], inbox: &mut BytesMut, timer: &mut Pin<Box<Sleep>>) -> Deed {
    inbox.reserve(READ_OCTETS);
    poll_fn(|context| {
        match pin!(stream.read_buf(inbox)).poll(context) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Deed::End),
            Poll::Ready(Ok(_)) => return Poll::Ready(Deed::Read),
            Poll::Ready(Err(error)) => return Poll::Ready(Deed::Broke(error)),
            Poll::Pending => {}
        }
        let written = if sending.is_empty() {
            // TLS may still hold octets that it took before.
            Pin::new(&mut *stream).poll_flush(context).map_ok(|()| None)
        } else {
            Pin::new(&mut *stream).poll_write(context, sending).map_ok(Some)
        };
        match written {
            Poll::Ready(Ok(Some(octets))) => return Poll::Ready(Deed::Wrote(octets)),
            Poll::Ready(Err(error)) => return Poll::Ready(Deed::Broke(error)),
            Poll::Ready(Ok(None)) | Poll::Pending => {}
        }
        timer.as_mut().poll(context).map(|()| Deed::Time)
    })
    .await
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake took it and failed.
    Gone,
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Gone => gone(),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(context, octets),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, octets),
            Stream::Gone => gone(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
            Stream::Gone => gone(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Gone => gone(),
        }
    }
}
