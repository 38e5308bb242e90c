//! A mail server that is played: each connection runs a script.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A message as a server got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The commands MAIL and RCPT as they came.
    pub envelope: Vec<String>,
    /// Unstuffed, without the final dot.
    pub content: Vec<u8>,
    /// Which connection it came on, from 1.
    pub connection: usize,
}

/// A server on a port of its own.
pub struct Mx {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    connections: Mutex<usize>,
}

impl Drop for Mx {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Mx {
    /// Each connection is played by `script`.
    pub async fn start<F, S>(script: F) -> Mx
    where
        F: Fn(Peer) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Delayed acknowledgements are long when time flies.
                let _ = socket.set_nodelay(true);
                let number = {
                    let mut connections = seen.connections.lock().unwrap_or_else(PoisonError::into_inner);
                    *connections += 1;
                    *connections
                };
                let peer = Peer { stream: BufReader::new(Box::new(socket)), number, shared: Arc::clone(&seen) };
                tokio::spawn(script(peer));
            }
        });
        Mx { address, shared, accepting }
    }

    /// A server that takes everything, with these EHLO keywords.
    pub async fn good(keywords: &'static [&'static str]) -> Mx {
        Mx::start(move |mut peer: Peer| async move {
            peer.greets(keywords).await;
            peer.takes_all().await;
        })
        .await
    }

    /// A port on which nobody listens.
    pub async fn dead() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        listener.local_addr().expect("a bound socket has an address")
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The server's end of one connection.
pub struct Peer {
    stream: BufReader<Box<dyn Io>>,
    /// Which connection of this server it is, from 1.
    pub number: usize,
    shared: Arc<Shared>,
}

impl Peer {
    /// What cannot be said any more need not be said: the client may be gone.
    pub async fn says(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
        let _ = self.stream.flush().await;
    }

    /// The next line, without its end; empty at the end of the stream.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let _ = self.stream.read_until(b'\n', &mut line).await;
        String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned()
    }

    /// The next line, which must begin like this.
    pub async fn hears(&mut self, beginning: &str) -> String {
        let line = self.line().await;
        assert!(line.starts_with(beginning), "the client said {line:?} and not {beginning}");
        line
    }

    /// Greeting and EHLO.
    pub async fn greets(&mut self, keywords: &[&str]) {
        self.says("220 mx.example ESMTP\r\n").await;
        self.offers(keywords).await;
    }

    /// Waits for EHLO and answers it.
    pub async fn offers(&mut self, keywords: &[&str]) {
        self.hears("EHLO relay.example").await;
        let mut reply = String::from("250-mx.example\r\n");
        for keyword in keywords {
            reply.push_str(&format!("250-{keyword}\r\n"));
        }
        reply.push_str("250 HELP\r\n");
        self.says(&reply).await;
    }

    /// Takes messages until the client leaves.
    pub async fn takes_all(&mut self) {
        while self.takes().await {}
    }

    /// Takes one message; `false` if the client leaves instead.
    pub async fn takes(&mut self) -> bool {
        self.takes_with(|_| "250 ok").await
    }

    /// Takes one message; `reply` answers each command, `.` stands for the content.
    pub async fn takes_with(&mut self, reply: impl Fn(&str) -> &'static str) -> bool {
        let mut envelope = Vec::new();
        loop {
            let line = self.line().await;
            match line.as_str() {
                "" => return false,
                "QUIT" => {
                    self.says("221 bye\r\n").await;
                    return false;
                }
                "RSET" => self.says("250 reset\r\n").await,
                "DATA" if reply("DATA").starts_with("250") => {
                    self.says("354 go\r\n").await;
                    let content = self.content().await;
                    self.says(&format!("{}\r\n", reply("."))).await;
                    let received = Received { envelope, content, connection: self.number };
                    self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
                    return true;
                }
                _ => {
                    self.says(&format!("{}\r\n", reply(&line))).await;
                    if line == "DATA" {
                        return true;
                    }
                    envelope.push(line);
                }
            }
        }
    }

    /// Content up to the final dot.
    pub async fn content(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = self.stream.read_until(b'\n', &mut line).await;
            assert!(matches!(read, Ok(1..)), "the client left in the middle of its content");
            if line == b".\r\n" {
                return content;
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    /// Reads so many octets at most, or leaves them where they are; `false` at the end.
    pub async fn reads(&mut self, octets: usize) -> bool {
        let mut some = vec![0; octets];
        octets == 0 || matches!(self.stream.read(&mut some).await, Ok(1..))
    }

    /// Waits until the client is gone, whatever it says.
    pub async fn waits_for_the_end(&mut self) {
        let mut sink = [0; 4096];
        while matches!(self.stream.read(&mut sink).await, Ok(1..)) {}
    }

    pub async fn sleeps(&mut self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// The server's side of the handshake.
    pub async fn starts_tls(self, acceptor: &TlsAcceptor) -> Peer {
        let Peer { stream, number, shared } = self;
        let stream = acceptor.accept(stream.into_inner()).await.expect("the client does its part");
        Peer { stream: BufReader::new(Box::new(stream)), number, shared }
    }
}
