//! Handing a message to any submission server over SMTP: the pump around `smtp::client`.
//!
//! On loopback it speaks in the clear; to any other server only under TLS (implicit on port 465, else
//! by STARTTLS) with a certificate that the public authorities vouch for, because a password goes
//! over it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{AccountId, Address, BodyType, Envelope, MessageId, Meta, Origin, Recipient, Secret, Stream, Timestamp};
use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use smtp::client::{
    Alphabet, AuthOver, Channel, Connection, Content, Credentials, Disposition, Input, Next, Output, Settings,
    StartTls, Timeouts, Transaction, TransactionReport,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use crate::config::HostPort;

/// For the whole of it; a large message over a slow line may take a while.
const TIME_MAX: Duration = Duration::from_secs(600);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
/// Transactions for one message: a server that takes one recipient at a time and no more is given up.
const TRANSACTIONS_MAX: usize = 100;

pub struct Submission {
    pub server: HostPort,
    pub login: Option<Login>,
    pub from: Address,
    pub to: Vec<Address>,
    /// Lines ended by CRLF.
    pub content: Vec<u8>,
}

pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// What the server said about one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Position in `to`.
    pub recipient: usize,
    pub accepted: bool,
    pub reply: String,
}

/// Hands it in; one result for each recipient.
///
/// # Errors
/// When the server was not reached, or did not let us in.
pub async fn submit(submission: Submission) -> Result<Vec<Submitted>, Failure> {
    let server = submission.server.to_string();
    let late = || Failure::failed(format!("{server} took longer than {} s", TIME_MAX.as_secs()));
    tokio::time::timeout(TIME_MAX, converse(submission)).await.map_err(|_| late())?
}

/// A socket, plain or under TLS.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

struct Pump {
    server: HostPort,
    /// `None` only while a handshake is made of it.
    wire: Option<Box<dyn Wire>>,
    connection: Connection,
    buffer: BytesMut,
    began: Instant,
}

async fn converse(submission: Submission) -> Result<Vec<Submitted>, Failure> {
    let mut pump = Pump::connect(&submission).await?;
    let mut open: Vec<u32> = (0..submission.to.len() as u32).collect();
    let mut results = Vec::new();
    let mut ready = false;
    for _ in 0..TRANSACTIONS_MAX {
        if !ready {
            pump.until_ready().await?;
            ready = true;
        }
        let report = pump.transact(transaction(&submission, open)).await?;
        results.extend(report.results.iter().map(|result| Submitted {
            recipient: result.recipient as usize,
            accepted: matches!(result.disposition, Disposition::Delivered { .. }),
            reply: result.reply.to_string(),
        }));
        open = report.not_attempted;
        if open.is_empty() || !pump.connection.is_free() {
            break;
        }
    }
    // What found no room in any transaction is said to be refused, and why.
    results.extend(open.into_iter().map(|recipient| Submitted {
        recipient: recipient as usize,
        accepted: false,
        reply: "the server took no more recipients".to_owned(),
    }));
    pump.goodbye().await;
    results.sort_by_key(|result| result.recipient);
    Ok(results)
}

impl Pump {
    async fn connect(submission: &Submission) -> Result<Pump, Failure> {
        let server = submission.server.clone();
        let connecting = TcpStream::connect((server.host.as_str(), server.port));
        let socket = match tokio::time::timeout(CONNECT_TIME_MAX, connecting).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(Failure::failed(format!("cannot connect to {server}: {error}"))),
            Err(_) => {
                return Err(Failure::failed(format!(
                    "{server} did not answer within {} s",
                    CONNECT_TIME_MAX.as_secs()
                ))
                .advise("A firewall on the way may drop such connections."));
            }
        };
        let address = socket.peer_addr()?;
        let protection = Protection::of(address);
        let (wire, channel): (Box<dyn Wire>, Channel) = match protection {
            Protection::Implicit => (handshake(&server, Box::new(socket)).await?, Channel::Tls),
            Protection::None | Protection::StartTls => (Box::new(socket), Channel::Plain),
        };
        let settings = settings(submission, protection);
        Ok(Pump {
            server,
            wire: Some(wire),
            connection: Connection::new(Arc::new(settings), channel, 0),
            buffer: BytesMut::with_capacity(4096),
            began: Instant::now(),
        })
    }

    async fn until_ready(&mut self) -> Result<(), Failure> {
        match self.step().await? {
            Step::Ready => Ok(()),
            Step::Finished(_) => Err(self.out_of_step()),
        }
    }

    async fn transact(&mut self, transaction: Transaction) -> Result<TransactionReport, Failure> {
        self.tell(Input::Begin(transaction));
        match self.step().await? {
            Step::Finished(report) => Ok(*report),
            Step::Ready => Err(self.out_of_step()),
        }
    }

    /// Moves octets until the engine has something to say.
    async fn step(&mut self) -> Result<Step, Failure> {
        loop {
            let now_us = self.now_us();
            let Some(wire) = self.wire.as_mut() else { return Err(self.out_of_step()) };
            match self.connection.poll() {
                Some(Output::Send(octets)) => {
                    let written = wire.write(octets).await?;
                    self.connection.handle(now_us, Input::Written(written));
                }
                Some(Output::StartTls) => self.start_tls().await?,
                Some(Output::Ready) => return Ok(Step::Ready),
                Some(Output::Finished(report)) => return Ok(Step::Finished(report)),
                Some(Output::Failed(failure)) => {
                    return Err(Failure::failed(format!("{} did not let us in: {failure}", self.server)));
                }
                Some(Output::NeedBody) => return Err(self.out_of_step()),
                Some(Output::Close) => {
                    return Err(Failure::failed(format!("{} closed the connection", self.server)));
                }
                None => {
                    // TLS may hold back what it was given until it is told to let go.
                    wire.flush().await?;
                    let input = match wire.read_buf(&mut self.buffer).await {
                        Ok(0) => Input::Closed,
                        Ok(_) => Input::Received(&mut self.buffer),
                        Err(error) => {
                            return Err(Failure::failed(format!("the connection to {} broke: {error}", self.server)));
                        }
                    };
                    self.connection.handle(now_us, input);
                }
            }
        }
    }

    async fn start_tls(&mut self) -> Result<(), Failure> {
        let Some(wire) = self.wire.take() else { return Err(self.out_of_step()) };
        self.wire = Some(handshake(&self.server, wire).await?);
        self.tell(Input::TlsStarted("TLS"));
        Ok(())
    }

    /// The message is in or refused; a goodbye that fails changes nothing.
    async fn goodbye(mut self) {
        self.tell(Input::Quit);
        if let (Some(Output::Send(octets)), Some(wire)) = (self.connection.poll(), self.wire.as_mut()) {
            let _ = wire.write_all(octets).await;
            let _ = wire.flush().await;
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        let now_us = self.now_us();
        self.connection.handle(now_us, input);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn out_of_step(&self) -> Failure {
        Failure::failed(format!("the dialogue with {} went out of step", self.server))
    }
}

/// What the engine said that is more than moving octets.
enum Step {
    Ready,
    Finished(Box<TransactionReport>),
}

/// How a password is protected on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// It does not leave the machine.
    None,
    StartTls,
    Implicit,
}

impl Protection {
    fn of(address: SocketAddr) -> Protection {
        match address.ip().to_canonical() {
            ip if is_loopback(ip) => Protection::None,
            _ if address.port() == 465 => Protection::Implicit,
            _ => Protection::StartTls,
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

async fn handshake(server: &HostPort, wire: Box<dyn Wire>) -> Result<Box<dyn Wire>, Failure> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| Failure::failed(format!("{} is no name that a certificate can have", server.host)))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, wire).await.map_err(|error| {
        Failure::failed(format!("no TLS with {server}: {error}"))
            .advise("The server must show a certificate for this name that is publicly trusted.")
    })?;
    Ok(Box::new(stream))
}

fn settings(submission: &Submission, protection: Protection) -> Settings {
    let credentials = submission.login.as_ref().map(|login| Credentials {
        user: login.user.as_str().into(),
        secret: login.password.clone(),
        over: if protection == Protection::None { AuthOver::Anything } else { AuthOver::TlsOnly },
    });
    Settings {
        // An address literal that is always true of who speaks; RFC 5321 §4.1.4 asks for no more.
        hello: "[127.0.0.1]".into(),
        starttls: if protection == Protection::StartTls { StartTls::Demanded } else { StartTls::Never },
        credentials,
        timeouts: Timeouts::default(),
        recipients_max: 100,
        next: Next::AfterReply,
    }
}

fn transaction(submission: &Submission, recipients: Vec<u32>) -> Transaction {
    let size_octets = submission.content.len() as u64;
    let alphabet = alphabet(submission);
    let envelope = Envelope {
        sender: Some(submission.from.clone()),
        recipients: submission.to.iter().cloned().map(Recipient::new).collect(),
        body: if alphabet == Alphabet::SevenBit { BodyType::SevenBit } else { BodyType::EightBitMime },
        smtputf8: alphabet == Alphabet::Utf8Headers,
        ret: None,
        envid: None,
    };
    let meta = Meta {
        // The server draws its own id; this one is not sent.
        id: MessageId::from_bytes([0; 16]),
        account: AccountId::INSTANCE,
        credential: None,
        stream: Stream::Transactional,
        received_at: Timestamp(0),
        origin: Origin::Local,
        envelope,
        size_octets,
        eight_bit: alphabet != Alphabet::SevenBit,
        subject: None,
        message_id_header: None,
    };
    Transaction {
        meta: Arc::new(meta),
        sender: Some(submission.from.clone()),
        recipients,
        content: Content::Whole(Bytes::from(submission.content.clone())),
        size_octets,
        alphabet,
    }
}

fn alphabet(submission: &Submission) -> Alphabet {
    let content = &submission.content;
    let header = content.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(content.len());
    let addresses_ascii = submission.to.iter().chain([&submission.from]).all(Address::is_ascii);
    if !content[..header].is_ascii() || !addresses_ascii {
        Alphabet::Utf8Headers
    } else if !content.is_ascii() {
        Alphabet::EightBitBody
    } else {
        Alphabet::SevenBit
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect("the test's address is valid")
    }

    fn submission(server: SocketAddr, to: &[&str]) -> Submission {
        Submission {
            server: HostPort { host: server.ip().to_string(), port: server.port() },
            login: Some(Login { user: "shop".into(), password: Secret::from("secret") }),
            from: address("ada@example.org"),
            to: to.iter().map(|to| address(to)).collect(),
            content: b"Subject: x\r\n\r\n.dot\r\n".to_vec(),
        }
    }

    /// A server that answers each line by `answer`, and gives back all lines that it heard.
    async fn server(answer: fn(&str) -> Option<&'static str>) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("it is bound");
        let heard = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.expect("the client comes");
            let (read, mut write) = socket.into_split();
            let mut lines = BufReader::new(read).lines();
            let mut heard = Vec::new();
            write.write_all(b"220 mx.test ESMTP\r\n").await.expect("the client listens");
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(answer) = answer(&line) {
                    write.write_all(answer.as_bytes()).await.expect("the client listens");
                }
                heard.push(line);
            }
            heard
        });
        (local, heard)
    }

    fn friendly(line: &str) -> Option<&'static str> {
        match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => Some("250-mx.test\r\n250 AUTH PLAIN\r\n"),
            "AUTH" => Some("235 2.7.0 ok\r\n"),
            "MAIL" => Some("250 2.1.0 ok\r\n"),
            "RCPT" if line.contains("nobody") => Some("550 5.1.1 no such user\r\n"),
            "RCPT" => Some("250 2.1.5 ok\r\n"),
            "DATA" => Some("354 go\r\n"),
            "." => Some("250 2.0.0 kept\r\n"),
            _ => None,
        }
    }

    #[tokio::test]
    async fn each_recipient_has_its_own_answer() {
        let (local, heard) = server(friendly).await;
        let results = submit(submission(local, &["grace@example.com", "nobody@example.com"])).await;
        let results = results.expect("the server lets us in");
        assert_eq!(results.iter().map(|result| result.accepted).collect::<Vec<_>>(), [true, false]);
        assert_eq!(results[0].reply, "250 2.0.0 kept");
        assert_eq!(results[1].reply, "550 5.1.1 no such user");
        let heard = heard.await.expect("the server ends");
        assert!(heard.iter().any(|line| line.starts_with("AUTH PLAIN")), "{heard:?}");
        assert!(heard.contains(&"..dot".to_owned()), "{heard:?}");
        assert_eq!(heard.last().map(String::as_str), Some("QUIT"));
    }

    #[tokio::test]
    async fn a_wrong_password_is_told_in_the_servers_words() {
        let (local, _heard) = server(|line| match line.split(' ').next() {
            Some("AUTH") => Some("535 5.7.8 wrong\r\n"),
            _ => friendly(line),
        })
        .await;
        let told = submit(submission(local, &["grace@example.com"])).await.expect_err("we are not let in").to_string();
        assert!(told.contains("did not let us in") && told.contains("535"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("it is bound");
        drop(listener);
        let told = submit(submission(local, &["grace@example.com"])).await.expect_err("nobody listens").to_string();
        assert!(told.contains(&format!("cannot connect to {local}")), "{told}");
    }

    #[test]
    fn a_password_leaves_the_machine_only_under_tls() {
        let protection = |address: &str| Protection::of(address.parse().expect("an address"));
        assert_eq!(protection("127.0.0.1:2525"), Protection::None);
        assert_eq!(protection("[::1]:587"), Protection::None);
        assert_eq!(protection("[::ffff:127.0.0.1]:587"), Protection::None);
        assert_eq!(protection("192.0.2.1:465"), Protection::Implicit);
        assert_eq!(protection("192.0.2.1:587"), Protection::StartTls);
        let local: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let over_tls = settings(&submission(local, &["a@b.example"]), Protection::StartTls);
        assert_eq!(over_tls.starttls, StartTls::Demanded);
        assert!(over_tls.credentials.is_some_and(|credentials| credentials.over == AuthOver::TlsOnly));
    }

    #[test]
    fn the_alphabet_is_told_as_it_is() {
        let local: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let mut message = submission(local, &["a@b.example"]);
        assert_eq!(alphabet(&message), Alphabet::SevenBit);
        message.content = "Subject: x\r\n\r\nü\r\n".into();
        assert_eq!(alphabet(&message), Alphabet::EightBitBody);
        message.content = "Subject: ü\r\n\r\nx\r\n".into();
        assert_eq!(alphabet(&message), Alphabet::Utf8Headers);
        let message = submission(local, &["zoë@b.example"]);
        assert_eq!(alphabet(&message), Alphabet::Utf8Headers);
    }
}
