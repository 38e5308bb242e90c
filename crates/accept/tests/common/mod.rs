//! What the tests share: a world with a real spool and a listener on a free port, and a client that
//! speaks line by line.

#![expect(dead_code, reason = "each test binary uses a part of it")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use accept::{
    Arrival, AuthOffer, BoundListener, Certificate, Counters, Directory, Door, DoorConfig, Entrance, Handover, Limits,
    ListenerConfig, Principal, Tls, Trust,
};
use base::{AccountId, Address, CredentialId, Domain, Enhanced, Reply, Secret, Stream, SystemClock};
use privacy::MasterKey;
use spool::{Options, Spool, Stored};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Long enough for a busy machine; reached only when something is broken.
const DEADLINE: Duration = Duration::from_secs(60);

/// `\0ada\0secret`
pub const ADA: &str = "AUTH PLAIN AGFkYQBzZWNyZXQ=";
/// `\0ada\0wrong`
pub const WRONG: &str = "AUTH PLAIN AGFkYQB3cm9uZw==";

pub struct Accounts;

impl Directory for Accounts {
    fn authenticate(&self, user: &str, secret: &Secret, _client: IpAddr) -> Option<Principal> {
        (user == "ada" && secret.expose_secret() == b"secret").then(|| Principal {
            account: AccountId(1),
            credential: Some(CredentialId(11)),
            stream: Stream::Transactional,
            name: "ada".into(),
        })
    }

    fn may_send(&self, _principal: &Principal, sender: Option<&Address>) -> Result<(), Reply> {
        match sender {
            Some(sender) if sender.domain() == "foreign.example" => {
                Err(Reply::new(550, Enhanced(5, 7, 1), "This sender is not yours"))
            }
            _ => Ok(()),
        }
    }
}

struct Taker(mpsc::UnboundedSender<Stored>);

impl Handover for Taker {
    fn accepted(&self, stored: Stored) {
        // The test may have ended already.
        let _ = self.0.send(stored);
    }
}

pub struct World {
    pub address: SocketAddr,
    pub spool: Spool,
    pub door: Door,
    pub handed: mpsc::UnboundedReceiver<Stored>,
    pub stop: watch::Sender<bool>,
    pub serving: JoinHandle<()>,
    pub entrance: Arc<Entrance>,
    _dir: TempDir,
}

pub struct Setting {
    pub tls: Tls,
    pub auth: AuthOffer,
    pub trust: Trust,
    pub limits: Limits,
    pub message_octets_max: u64,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            tls: Tls::None,
            auth: AuthOffer::Always,
            trust: Trust::Nobody,
            limits: Limits::default(),
            message_octets_max: 60 << 20,
        }
    }
}

pub fn trusted() -> Trust {
    let principal =
        Principal { account: AccountId(2), credential: None, stream: Stream::Transactional, name: "loopback".into() };
    Trust::Networks { networks: vec!["127.0.0.0/8".parse().unwrap()], principal }
}

impl World {
    /// Must be called within a runtime.
    pub fn new(setting: Setting) -> World {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let options = Options {
            dir: dir.path().join("spool"),
            segment_octets: 4 << 20,
            message_octets_max: setting.message_octets_max,
            ..Options::default()
        };
        let clock = Arc::new(SystemClock);
        let (spool, _) = Spool::open(options, &MasterKey::from_bytes([7; 32]), clock.clone()).expect("the spool opens");
        let (taker, handed) = mpsc::unbounded_channel();
        let hostname = Domain::parse("mx.example.net").expect("a domain");
        let door = Door::new(DoorConfig::new(hostname), spool.clone(), Arc::new(Taker(taker)), clock);
        let entrance = Arc::new(Entrance::new(door.clone(), Arc::new(Accounts), setting.limits));
        let (stop, stopping) = watch::channel(false);
        let config = ListenerConfig {
            address: "127.0.0.1:0".parse().unwrap(),
            tls: setting.tls,
            auth: setting.auth,
            trust: setting.trust,
        };
        let listener = BoundListener::bind(config).expect("a port is free");
        let address = listener.local_addr();
        let serving = tokio::spawn(listener.serve(Arc::clone(&entrance), stopping));
        World { address, spool, door, handed, stop, serving, entrance, _dir: dir }
    }

    pub fn counters(&self) -> &Counters {
        self.door.counters()
    }

    pub async fn connect(&self) -> Client<TcpStream> {
        let mut client = Client::new(self.stream().await);
        assert!(client.reply().await.starts_with("220 mx.example.net ESMTP"));
        client
    }

    /// Connected, EHLO said.
    pub async fn greeted(&self) -> Client<TcpStream> {
        let mut client = self.connect().await;
        assert_eq!(client.code("EHLO client.example").await, 250);
        client
    }

    pub async fn stream(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the listener takes connections")
    }

    /// The next message that was handed over.
    pub async fn next(&mut self) -> Stored {
        within(self.handed.recv()).await.expect("the door is there")
    }

    /// What of a message is in the spool.
    pub fn body(&self, stored: &Stored) -> Vec<u8> {
        let mut body = self.spool.body(stored.meta.id).expect("the body is there");
        let mut text = Vec::new();
        while let Some(chunk) = body.next_chunk().expect("the body opens") {
            text.extend_from_slice(&chunk);
        }
        text
    }

    /// Nothing was accepted, and nothing will be.
    pub async fn assert_nothing_stored(&mut self) {
        self.stop.send_replace(true);
        within(&mut self.serving).await.expect("serving ends");
        assert!(self.handed.try_recv().is_err());
        assert_eq!(self.spool.stats().live_messages, 0);
    }
}

pub fn self_signed() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

pub fn certificate() -> Arc<Certificate> {
    let (certificate, key) = self_signed();
    Arc::new(Certificate::from_pem(certificate.as_bytes(), key.as_bytes()).expect("it is a certificate"))
}

pub fn local() -> Arrival {
    Arrival::local()
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens in time")
}

pub struct Client<S> {
    pub stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(stream: S) -> Client<S> {
        Client { stream, read: Vec::new() }
    }

    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        within(async {
            self.stream.write_all(octets.as_ref()).await.expect("the server reads");
            self.stream.flush().await.expect("the server reads");
        })
        .await;
    }

    /// The next reply, all its lines; empty when the connection is closed.
    pub async fn reply(&mut self) -> String {
        within(async {
            let mut reply = String::new();
            loop {
                while let Some(at) = self.read.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = self.read.drain(..=at).collect();
                    reply.push_str(std::str::from_utf8(&line).expect("replies are ASCII"));
                    if line.get(3) != Some(&b'-') {
                        return reply;
                    }
                }
                match self.stream.read_buf(&mut self.read).await {
                    Ok(0) | Err(_) => return reply,
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    pub async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    pub async fn code(&mut self, line: &str) -> u16 {
        code(&self.say(line).await)
    }

    /// A message in one transaction; the reply to its end.
    pub async fn message(&mut self, content: &str) -> String {
        self.send("MAIL FROM:<ada@example.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n").await;
        for expected in [250, 250, 354] {
            assert_eq!(code(&self.reply().await), expected);
        }
        self.send(format!("{content}\r\n.\r\n")).await;
        self.reply().await
    }

    /// Waits until the server has closed the connection, whatever it says before.
    pub async fn closed(&mut self) {
        while !self.reply().await.is_empty() {}
    }
}

pub fn code(reply: &str) -> u16 {
    reply.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0)
}
