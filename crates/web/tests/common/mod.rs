//! A site without a server behind it, and messages for its inbox.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use base::{
    Address, Attempt, Clock, Domain, Enhanced, MessageId, Origin, Outcome, RecipientResult, Reply, Step, Timestamp,
};
use http_body_util::BodyExt;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tower::ServiceExt;
use web::{Answer, Captured, Entry, Inbox, Refusal, Site, Vitals, WayIn};

/// 2026-11-22 04:16:40 UTC.
const RECEIVED_AT: Timestamp = Timestamp::from_secs(1_795_321_000);
/// What must never stand in a page as it is.
pub const CANARY: &str = "<img src=x onerror=steal()>";

#[derive(Clone)]
pub struct World {
    messages: Arc<Vec<Captured>>,
    /// Why mail is not accepted.
    pub fault: Option<String>,
    /// The store answers with errors.
    pub broken: bool,
}

impl World {
    pub fn with(messages: Vec<Captured>) -> World {
        World { messages: Arc::new(messages), fault: None, broken: false }
    }

    fn broken(&self) -> Result<(), Refusal> {
        if self.broken {
            Err(Refusal::Internal("disk I/O error in /var/lib/postrider/store.db".into()))
        } else {
            Ok(())
        }
    }
}

impl Inbox for World {
    fn list(&self, after: Option<i64>, limit: u32) -> Answer<'_, Vec<Entry>> {
        let answer = self.broken().map(|()| {
            let older = self.messages.iter().filter(|message| after.is_none_or(|after| message.entry.id < after));
            older.take(limit as usize).map(|message| message.entry.clone()).collect()
        });
        Box::pin(async move { answer })
    }

    fn show(&self, id: i64) -> Answer<'_, Option<Captured>> {
        let answer = self.broken().map(|()| self.messages.iter().find(|message| message.entry.id == id).cloned());
        Box::pin(async move { answer })
    }
}

impl Vitals for World {
    fn faults(&self) -> Vec<String> {
        self.fault.clone().into_iter().collect()
    }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        RECEIVED_AT.after(std::time::Duration::from_secs(60))
    }
}

fn site(world: &World) -> Site {
    let mut metrics = Registry::default();
    let accepted = Counter::<u64>::default();
    accepted.inc_by(3);
    metrics.register("accepted", "Messages accepted", accepted);
    Site {
        inbox: Arc::new(world.clone()),
        vitals: Arc::new(world.clone()),
        metrics: Arc::new(metrics),
        clock: Arc::new(Noon),
        hosts: Arc::from([Domain::parse("panel.example.org").expect("a host name")]),
        way_in: Arc::new(WayIn {
            smtp: SocketAddr::from((Ipv4Addr::LOCALHOST, 2525)),
            starttls: true,
            username: Some("dev".to_owned()),
            password_hint: "is in the output of postrider dev".to_owned(),
        }),
    }
}

pub struct Fetched {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Fetched {
    /// Empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

pub async fn get(world: &World, path: &str) -> Fetched {
    get_from(world, path, Some("127.0.0.1:8025")).await
}

/// As if asked for under this name.
pub async fn get_from(world: &World, path: &str, host: Option<&str>) -> Fetched {
    request(world, "GET", path, host).await
}

pub async fn request(world: &World, method: &str, path: &str, host: Option<&str>) -> Fetched {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(host) = host {
        request = request.header(header::HOST, host);
    }
    let request = request.body(Body::empty()).expect("the test's request is well formed");
    let response = web::router(site(world)).oneshot(request).await.expect("the router always answers");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the answer is in memory").to_bytes();
    Fetched { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

/// An ordinary message.
pub fn captured(id: i64) -> Captured {
    let content = "From: Ada <ada@example.org>\r\nTo: grace@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
                   Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nHello Grace\r\n--b\r\n\
                   Content-Type: text/html\r\n\r\n<p>Hello <b>Grace</b></p>\r\n--b--\r\n";
    Captured {
        entry: Entry {
            id,
            message: MessageId::new(RECEIVED_AT.as_millis(), [7; 10]),
            from: Some(address("ada@example.org")),
            to: vec![address("grace@example.com")],
            subject: Some("=?utf-8?q?Gr=C3=BC=C3=9Fe?=".to_owned()),
            size_octets: 321,
            received_at: RECEIVED_AT,
        },
        content: Some(content.as_bytes().to_vec()),
        origin: Some(Origin::Smtp { client: Ipv4Addr::LOCALHOST.into(), helo: "laptop".into(), tls: true }),
        recipients: vec![address("grace@example.com")],
        attempts: vec![attempt("sandbox", "250 2.0.0 kept")],
    }
}

/// A message with the canary in every place that outside input reaches.
pub fn hostile(id: i64) -> Captured {
    let content = format!(
        "From: {CANARY} <a@example.org>\r\nTo: \"{CANARY}\" <b@example.org>\r\nSubject: {CANARY}\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n</pre>{CANARY}\r\n\
         --b\r\nContent-Type: text/html\r\n\r\n<p>{CANARY}<script>steal()</script></p>\r\n\
         --b\r\nContent-Type: image/{CANARY}; x=y\r\nContent-Disposition: attachment; filename=\"{CANARY}\"\r\n\r\nx\r\n\
         --b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename*=utf-8''%3Cimg%20src=x%20onerror=steal()%3E\r\n\r\nx\r\n--b--\r\n"
    );
    let mut message = captured(id);
    message.entry.subject = Some(CANARY.to_owned());
    message.entry.from = Some(address(&format!("\"{CANARY}\"@example.org")));
    message.entry.to = vec![address(&format!("\"{CANARY}\"@example.com"))];
    message.recipients = message.entry.to.clone();
    message.content = Some(content.into_bytes());
    message.origin = Some(Origin::Smtp { client: Ipv4Addr::LOCALHOST.into(), helo: CANARY.into(), tls: false });
    let mut attempt = attempt(CANARY, CANARY);
    attempt.tls = Some(CANARY.into());
    attempt.dialogue[0].sent = CANARY.into();
    message.attempts = vec![attempt];
    message
}

fn attempt(server: &str, said: &str) -> Attempt {
    Attempt {
        started_at: RECEIVED_AT,
        finished_at: RECEIVED_AT.after(std::time::Duration::from_millis(12)),
        number: 1,
        server: server.into(),
        tls: None,
        results: vec![RecipientResult {
            recipient: 0,
            outcome: Outcome::Delivered { relayed: false },
            reply: Reply::new(250, Enhanced(2, 0, 0), said),
        }],
        dialogue: vec![Step { at_us: 0, took_us: 900, sent: "[kept in the sandbox]".into(), received: said.into() }],
    }
}

fn address(text: &str) -> Address {
    text.parse().expect("the test's address is valid")
}
