//! Handing one message to a submission server over SMTP: what `postrider dev` does with its first
//! message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base::{AccountId, Address, BodyType, Envelope, MessageId, Meta, Origin, Recipient, Secret, Stream, Timestamp};
use bytes::{Bytes, BytesMut};
use smtp::client::{
    Alphabet, AuthOver, Channel, Connection, Content, Credentials, Disposition, Input, Next, Output, Settings, StartTls,
    Timeouts, Transaction, TransactionReport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server on this machine, and how to log in there.
pub struct Target {
    pub address: SocketAddr,
    pub username: String,
    pub password: Secret,
}

/// What to hand in.
pub struct Message {
    pub from: Address,
    pub to: Address,
    pub content: Bytes,
}

const DEADLINE: Duration = Duration::from_secs(30);

/// Hands it in and gives back the reply to its content. In plaintext: only for a listener on loopback.
pub async fn submit(target: Target, message: Message) -> Result<base::Reply> {
    match tokio::time::timeout(DEADLINE, talk(target, message)).await {
        Ok(result) => result,
        Err(_) => bail!("the server did not answer within {} s", DEADLINE.as_secs()),
    }
}

async fn talk(target: Target, message: Message) -> Result<base::Reply> {
    let mut socket = TcpStream::connect(target.address)
        .await
        .with_context(|| format!("cannot connect to {}", target.address))?;
    let began = Instant::now();
    let now_us = || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut connection = Connection::new(settings(&target), Channel::Plain, 0);
    let mut transaction = Some(transaction(message));
    let mut buffer = BytesMut::with_capacity(4096);
    loop {
        match connection.poll() {
            Some(Output::Send(octets)) => {
                let written = socket.write(octets).await?;
                connection.handle(now_us(), Input::Written(written));
            }
            Some(Output::Ready) => match transaction.take() {
                Some(transaction) => connection.handle(now_us(), Input::Begin(transaction)),
                None => connection.handle(now_us(), Input::Quit),
            },
            Some(Output::Finished(report)) => {
                connection.handle(now_us(), Input::Quit);
                if let Some(Output::Send(goodbye)) = connection.poll() {
                    // The message is in; a goodbye that fails takes nothing back.
                    let _ = socket.write_all(goodbye).await;
                }
                return reply(&report);
            }
            Some(Output::Failed(failure)) => bail!("the server did not let us in: {failure}"),
            Some(Output::StartTls | Output::NeedBody) => bail!("the server asked for what was not agreed"),
            Some(Output::Close) => bail!("the server closed the connection"),
            None => match socket.read_buf(&mut buffer).await? {
                0 => connection.handle(now_us(), Input::Closed),
                _ => connection.handle(now_us(), Input::Received(&mut buffer)),
            },
        }
    }
}

fn reply(report: &TransactionReport) -> Result<base::Reply> {
    match report.results.first() {
        Some(result) if matches!(result.disposition, Disposition::Delivered { .. }) => Ok(result.reply.clone()),
        Some(result) => bail!("the server refused the message: {}", result.reply),
        None => bail!("the server did not take the recipient"),
    }
}

fn settings(target: &Target) -> Arc<Settings> {
    Arc::new(Settings {
        hello: "localhost".into(),
        starttls: StartTls::Never,
        credentials: Some(Credentials {
            user: target.username.as_str().into(),
            secret: target.password.clone(),
            over: AuthOver::Anything,
        }),
        timeouts: Timeouts::default(),
        recipients_max: 100,
        next: Next::AfterReply,
    })
}

fn transaction(message: Message) -> Transaction {
    let size_octets = message.content.len() as u64;
    let meta = Meta {
        // Only the server's own ids count; these fields are not sent.
        id: MessageId::from_bytes([0; 16]),
        account: AccountId::INSTANCE,
        credential: None,
        stream: Stream::Transactional,
        received_at: Timestamp(0),
        origin: Origin::Local,
        envelope: Envelope {
            sender: Some(message.from.clone()),
            recipients: vec![Recipient::new(message.to)],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets,
        eight_bit: false,
        subject: None,
        message_id_header: None,
    };
    Transaction {
        meta: Arc::new(meta),
        sender: Some(message.from),
        recipients: vec![0],
        content: Content::Whole(message.content),
        size_octets,
        alphabet: Alphabet::SevenBit,
    }
}
