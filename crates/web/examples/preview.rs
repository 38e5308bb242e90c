//! Serves the pages with sample mail, for looking at them while they are made:
//! `cargo run -p postrider-web --example preview -- 127.0.0.1:8999` (with `empty` behind it: an empty inbox).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base::{
    Address, Attempt, Clock, Enhanced, MessageId, Origin, Outcome, RecipientResult, Reply, Step, SystemClock, Timestamp,
};
use web::{Answer, Captured, Entry, Inbox, Site, Vitals, WayIn};

struct Samples(Vec<Captured>);

impl Inbox for Samples {
    fn list(&self, after: Option<i64>, limit: u32) -> Answer<'_, Vec<Entry>> {
        let older = self.0.iter().filter(move |sample| after.is_none_or(|after| sample.entry.id < after));
        let page = older.take(limit as usize).map(|sample| sample.entry.clone()).collect();
        Box::pin(async move { Ok(page) })
    }

    fn show(&self, id: i64) -> Answer<'_, Option<Captured>> {
        let found = self.0.iter().find(|sample| sample.entry.id == id).cloned();
        Box::pin(async move { Ok(found) })
    }
}

struct Well;

impl Vitals for Well {
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

const INVOICE: &str = "From: =?utf-8?q?Caf=C3=A9_Nord?= <hello@cafe-nord.example>\r\n\
To: Grace Hopper <grace@example.com>\r\n\
Subject: =?utf-8?q?Your_order_is_on_its_way_=E2=80=94_here_is_the_invoice?=\r\n\
Date: Sun, 22 Nov 2026 09:14:02 +0100\r\n\
Message-ID: <order-1017@cafe-nord.example>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=\"mix\"\r\n\
\r\n\
--mix\r\n\
Content-Type: multipart/alternative; boundary=\"alt\"\r\n\
\r\n\
--alt\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
\r\n\
Dear Grace,\r\n\
\r\n\
two bags of Ethiopia Guji left our roastery this morning.\r\n\
You can follow the parcel at https://cafe-nord.example/p/1017\r\n\
\r\n\
Warm regards\r\n\
Caf\u{e9} Nord\r\n\
--alt\r\n\
Content-Type: text/html; charset=utf-8\r\n\
\r\n\
<html><head><style>.card{max-width:520px;margin:0 auto;font-family:Georgia,serif;color:#33302b}.b{background:#6b3f2a;color:#fff;padding:10px 18px;border-radius:6px;text-decoration:none}</style></head>\
<body style=\"background:#f4efe8\"><div class=card><h2>Your coffee is on its way</h2>\
<p>Dear Grace,<br>two bags of <b>Ethiopia Guji</b> left our roastery this morning.</p>\
<p style=\"margin:28px 0\"><a class=b href=\"https://cafe-nord.example/p/1017\">Follow the parcel</a></p>\
<table width=\"100%\" cellpadding=6 style=\"border-top:1px solid #d9cfc2\"><tr><td>2 \u{d7} Ethiopia Guji, 250 g</td><td align=right>23.80 \u{20ac}</td></tr>\
<tr><td>Postage</td><td align=right>3.90 \u{20ac}</td></tr><tr><td><b>Total</b></td><td align=right><b>27.70 \u{20ac}</b></td></tr></table>\
<p style=\"color:#8a8074;font-size:13px\">Caf\u{e9} Nord, H\u{e4}mmerlingweg 3, L\u{fc}beck</p>\
<img src=\"https://tracker.example/open.gif\" width=1 height=1><script>alert(1)</script></div></body></html>\r\n\
--alt--\r\n\
--mix\r\n\
Content-Type: application/pdf; name=\"invoice-1017.pdf\"\r\n\
Content-Disposition: attachment; filename=\"invoice-1017.pdf\"\r\n\
Content-Transfer-Encoding: base64\r\n\
\r\n\
JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3RoIDMgMCBSPj4Kc3RyZWFtCg==\r\n\
--mix--\r\n";

fn address(text: &str) -> Address {
    text.parse().expect("the samples hold valid addresses")
}

fn step(at_us: u64, took_us: u64, sent: &str, received: &str) -> Step {
    Step { at_us, took_us, sent: sent.into(), received: received.into() }
}

fn dialogue() -> Vec<Step> {
    vec![
        step(0, 412, "[connect 127.0.0.1:2526]", "220 mx.example.com ESMTP"),
        step(500, 310, "EHLO mail.example.org", "250-mx.example.com\n250-PIPELINING\n250-SIZE 52428800\n250 8BITMIME"),
        step(900, 2_900, "[TLS 1.3 handshake]", ""),
        step(3_900, 280, "MAIL FROM:<hello@cafe-nord.example> BODY=8BITMIME", "250 2.1.0 Ok"),
        step(4_000, 520, "RCPT TO:<grace@example.com>", "250 2.1.5 Ok"),
        step(4_000, 23_400, "RCPT TO:<nobody@example.com>", "550 5.1.1 No such user here"),
        step(4_700, 300, "DATA", "354 Go ahead"),
        step(5_100, 38_000, "[content, 1,912 octets]", "250 2.0.0 Ok: queued as 4F2A9C"),
    ]
}

fn attempt(number: u32, now: Timestamp) -> Attempt {
    let result = |recipient, outcome, code, enhanced, text: &str| RecipientResult {
        recipient,
        outcome,
        reply: Reply::new(code, enhanced, text),
    };
    Attempt {
        started_at: Timestamp(now.0 - 41_000_000),
        finished_at: Timestamp(now.0 - 40_957_000),
        number,
        server: "mx.example.com [127.0.0.1]:2526".into(),
        tls: Some("TLS 1.3".into()),
        results: vec![
            result(0, Outcome::Delivered { relayed: false }, 250, Enhanced(2, 0, 0), "Ok: queued as 4F2A9C"),
            result(1, Outcome::Bounced, 550, Enhanced(5, 1, 1), "No such user here"),
        ],
        dialogue: dialogue(),
    }
}

/// Sender (empty is the null sender), recipients, subject, octets, seconds since its arrival.
type Row = (&'static str, &'static [&'static str], Option<&'static str>, u64, u64);

fn samples(now: Timestamp) -> Vec<Captured> {
    let rows: [Row; 9] = [
        (
            "hello@cafe-nord.example",
            &["grace@example.com", "nobody@example.com"],
            Some("=?utf-8?q?Your_order_is_on_its_way_=E2=80=94_here_is_the_invoice?="),
            2_912,
            4,
        ),
        ("no-reply@accounts.example.org", &["ada@example.org"], Some("Reset your password"), 1_204, 38),
        (
            "ci@build.example.net",
            &["team@example.net", "lead@example.net", "ops@example.net"],
            Some("Build 4812 failed: 3 of 1,204 tests"),
            8_840,
            190,
        ),
        (
            "newsletter@gardens.example",
            &["flora@example.com"],
            Some(
                "What to plant in December, and why the robin stays: a rather long subject that has to be cut somewhere",
            ),
            48_200,
            2_400,
        ),
        ("", &["ada@example.org"], Some("Undelivered: Minutes of the last meeting"), 5_100, 5_300),
        ("printer@office.example", &["scan@example.org"], None, 2_412_800, 9_100),
        ("anna@example.org", &["zo\u{eb}@ex\u{e4}mple.com"], Some("=?utf-8?b?44GT44KT44Gr44Gh44Gv?="), 2_100, 52_000),
        (
            "shop@example.com",
            &["li@example.org"],
            Some("<b>50%</b> off & more <script>alert(1)</script>"),
            3_000,
            100_000,
        ),
        ("monitor@example.net", &["oncall@example.net"], Some("disk almost full on db3"), 812, 700_000),
    ];
    let count = rows.len() as i64;
    let sample = |(index, (from, to, subject, size_octets, age)): (usize, Row)| Captured {
        entry: Entry {
            id: count - index as i64,
            message: MessageId::new(now.as_millis(), [index as u8; 10]),
            from: (!from.is_empty()).then(|| address(from)),
            to: to.iter().map(|to| address(to)).collect(),
            subject: subject.map(str::to_owned),
            size_octets,
            received_at: Timestamp(now.0 - age * 1_000_000),
        },
        content: Some(INVOICE.as_bytes().to_vec()),
        origin: Some(Origin::Smtp { client: Ipv4Addr::LOCALHOST.into(), helo: "laptop.local".into(), tls: true }),
        recipients: to.iter().map(|to| address(to)).collect(),
        attempts: vec![attempt(1, now)],
    };
    rows.into_iter().enumerate().map(sample).collect()
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr =
        arguments.next().and_then(|text| text.parse().ok()).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8999)));
    let empty = arguments.next().is_some();
    let now = SystemClock.now();
    let samples = if empty { Vec::new() } else { samples(now) };
    let site = Site {
        inbox: Arc::new(Samples(samples)),
        vitals: Arc::new(Well),
        metrics: Arc::new(prometheus_client::registry::Registry::default()),
        clock: Arc::new(SystemClock),
        hosts: Arc::from([]),
        way_in: Arc::new(WayIn {
            smtp: SocketAddr::from((Ipv4Addr::LOCALHOST, 2525)),
            starttls: true,
            username: Some("dev".to_owned()),
            password_hint: "is in the output of postrider dev".to_owned(),
        }),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        println!("http://{}", listener.local_addr()?);
        axum::serve(listener, web::router(site)).await
    })
}
