//! The library's view of real packets, proven: an in-process DNS server answers as told, also wrongly,
//! and what matters is whether the message would be sent, deferred or bounced.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::Enhanced;
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, MX, NS, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use route::{LookupError, Resolver, ResolverConfig, RouteError, RoutePlan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// A question as it came.
struct Question {
    name: String,
    kind: RecordType,
    over_tcp: bool,
    packet: Message,
}

impl Question {
    fn reply(&self, code: ResponseCode) -> Message {
        let mut reply = Message::response(self.packet.metadata.id, OpCode::Query);
        reply.metadata.recursion_available = true;
        reply.metadata.response_code = code;
        reply.add_queries(self.packet.queries.clone());
        reply
    }

    fn answers(&self, records: &[(&str, RData)]) -> Option<Vec<u8>> {
        let mut reply = self.reply(ResponseCode::NoError);
        reply.add_answers(records.iter().map(|(owner, data)| record(owner, data.clone())));
        packed(&reply)
    }

    /// No answers, with the SOA that makes it authoritative.
    fn none(&self, code: ResponseCode) -> Option<Vec<u8>> {
        let mut reply = self.reply(code);
        reply
            .add_authority(record("test.", RData::SOA(SOA::new(name("ns.test."), name("root.test."), 1, 1, 1, 1, 60))));
        packed(&reply)
    }

    /// The address of whatever host is asked for.
    fn any_address(&self) -> Option<Vec<u8>> {
        match self.kind {
            RecordType::A => self.answers(&[(&self.name, RData::A(A::new(8, 0, 0, 1)))]),
            _ => self.none(ResponseCode::NoError),
        }
    }
}

fn packed(message: &Message) -> Option<Vec<u8>> {
    Some(message.to_vec().expect("a message of ours can be encoded"))
}

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(name(owner), 60, data)
}

fn name(text: &str) -> Name {
    let mut name = Name::from_str(text).expect("a name");
    name.set_fqdn(true);
    name
}

fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, name(host)))
}

type Answering = Arc<dyn Fn(&Question) -> Option<Vec<u8>> + Send + Sync>;

fn answer(answering: &Answering, packet: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
    let packet = Message::from_vec(packet).expect("the library sends questions");
    let query = packet.queries.first().expect("a question");
    let (name, kind) = (query.name().to_ascii().to_ascii_lowercase(), query.query_type());
    answering(&Question { name, kind, over_tcp, packet })
}

/// Answers on a port of loopback until the test ends.
async fn serve(answering: impl Fn(&Question) -> Option<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let answering: Answering = Arc::new(answering);
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        // The same port for both; it may be taken for one of them.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("bound")).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().expect("bound");
    tokio::spawn({
        let answering = Arc::clone(&answering);
        async move {
            let mut packet = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut packet).await {
                if let Some(reply) = answer(&answering, &packet[..length], false) {
                    udp.send_to(&reply, from).await.expect("loopback takes packets");
                }
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            tokio::spawn(serve_stream(stream, Arc::clone(&answering)));
        }
    });
    address
}

async fn serve_stream(mut stream: TcpStream, answering: Answering) {
    while let Ok(length) = stream.read_u16().await {
        let mut packet = vec![0; usize::from(length)];
        if stream.read_exact(&mut packet).await.is_err() {
            return;
        }
        let Some(reply) = answer(&answering, &packet, true) else { continue };
        let length = u16::try_from(reply.len()).expect("small replies").to_be_bytes();
        if stream.write_all(&[&length[..], &reply].concat()).await.is_err() {
            return;
        }
    }
}

fn resolver(server: SocketAddr) -> Resolver {
    let config = ResolverConfig {
        servers: vec![server],
        query_timeout: Duration::from_millis(300),
        ..ResolverConfig::default()
    };
    Resolver::new(config, fastrand::Rng::with_seed(1)).expect("a server is given")
}

async fn plan(
    answering: impl Fn(&Question) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Result<RoutePlan, RouteError> {
    resolver(serve(answering).await).plan("example.test").await
}

fn hosts(plan: Result<RoutePlan, RouteError>) -> Vec<String> {
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    plan.hosts.iter().map(|host| format!("{}={}", host.name, host.addresses[0])).collect()
}

fn bounced(plan: Result<RoutePlan, RouteError>) -> Enhanced {
    match plan {
        Err(RouteError::Permanent(reply)) => reply.enhanced.expect("ours have one"),
        other => panic!("{other:?}"),
    }
}

fn deferred(plan: Result<RoutePlan, RouteError>) -> String {
    match plan {
        Err(RouteError::Temporary(reply)) => {
            assert_eq!(reply.enhanced, Some(Enhanced(4, 4, 3)));
            reply.text.into()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn mx_records_are_found_and_sorted() {
    let plan = plan(|question| match question.kind {
        RecordType::MX => {
            question.answers(&[("example.test.", mx(20, "MX2.test.")), ("example.test.", mx(10, "mx1.test."))])
        }
        _ => question.any_address(),
    });
    assert_eq!(hosts(plan.await), ["mx1.test=8.0.0.1:25", "mx2.test=8.0.0.1:25"]);
}

#[tokio::test]
async fn nxdomain_bounces() {
    assert_eq!(bounced(plan(|question| question.none(ResponseCode::NXDomain)).await), Enhanced(5, 1, 2));
    // Some resolvers leave the SOA out.
    let bare = plan(|question| packed(&question.reply(ResponseCode::NXDomain)));
    assert_eq!(bounced(bare.await), Enhanced(5, 1, 2));
}

#[tokio::test]
async fn nodata_leads_to_the_domains_own_address() {
    let plan1 = plan(|question| match question.kind {
        RecordType::MX => question.none(ResponseCode::NoError),
        _ => question.any_address(),
    });
    assert_eq!(hosts(plan1.await), ["example.test=8.0.0.1:25"]);
    let plan2 = plan(|question| question.none(ResponseCode::NoError));
    assert_eq!(bounced(plan2.await), Enhanced(5, 4, 4));
    let plan3 = plan(|question| packed(&question.reply(ResponseCode::NoError)));
    assert_eq!(bounced(plan3.await), Enhanced(5, 4, 4));
}

#[tokio::test]
async fn null_mx_bounces() {
    let plan = plan(|question| match question.kind {
        RecordType::MX => question.answers(&[("example.test.", mx(0, "."))]),
        _ => question.any_address(),
    });
    assert_eq!(bounced(plan.await), Enhanced(5, 1, 10));
}

#[tokio::test]
async fn every_failure_of_the_server_defers() {
    for code in [
        ResponseCode::ServFail,
        ResponseCode::Refused,
        ResponseCode::FormErr,
        ResponseCode::NotImp,
        ResponseCode::NotAuth,
        ResponseCode::YXDomain,
        ResponseCode::Unknown(12),
    ] {
        let plan = plan(move |question| packed(&question.reply(code)));
        let text = deferred(plan.await);
        assert!(text.starts_with("The DNS gave no usable answer about example.test: "), "{code}: {text}");
    }
}

#[tokio::test]
async fn silence_defers() {
    assert!(deferred(plan(|_| None).await).ends_with("the name server did not answer in time"));
}

#[tokio::test]
async fn a_server_that_is_not_there_defers() {
    let port = UdpSocket::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    deferred(resolver(port).plan("example.test").await);
}

#[tokio::test]
async fn garbage_defers() {
    deferred(plan(|_| Some(Vec::new())).await);
    deferred(plan(|_| Some(vec![0xff; 30])).await);
    // An MX whose data ends before its host name.
    let short = plan(|question| {
        let mut packet = question.answers(&[("example.test.", mx(10, "a."))])?;
        let rdata = packet.len() - 5;
        packet.truncate(rdata + 1);
        packet[rdata - 2..rdata].copy_from_slice(&[0, 1]);
        Some(packet)
    });
    deferred(short.await);
}

#[tokio::test]
async fn somebody_elses_answer_is_not_taken_for_ours() {
    let wrong_id = plan(|question| {
        let mut reply = question.reply(ResponseCode::NXDomain);
        reply.metadata.id = reply.metadata.id.wrapping_add(1);
        packed(&reply)
    });
    deferred(wrong_id.await);
    // An answer about another name is no answer: what is left is a domain without an MX.
    let wrong_name = plan(|question| match question.kind {
        RecordType::MX => question.answers(&[("victim.test.", mx(1, "evil.test."))]),
        _ => question.any_address(),
    });
    assert_eq!(hosts(wrong_name.await), ["example.test=8.0.0.1:25"]);
}

#[tokio::test]
async fn records_that_nobody_asked_for_are_left_aside() {
    let plan = plan(|question| match question.kind {
        RecordType::MX => question.answers(&[
            ("victim.test.", mx(1, "evil.test.")),
            ("example.test.", mx(10, "mx.test.")),
            ("mx.test.", RData::A(A::new(6, 6, 6, 6))),
        ]),
        _ => question.any_address(),
    });
    assert_eq!(hosts(plan.await), ["mx.test=8.0.0.1:25"]);
}

#[tokio::test]
async fn a_lame_delegation_defers() {
    let plan = plan(|question| {
        let mut reply = question.reply(ResponseCode::NoError);
        reply.add_authority(record(".", RData::NS(NS(name("a.root.test.")))));
        packed(&reply)
    });
    assert!(deferred(plan.await).contains("lame"));
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let truncated = |question: &Question| {
        let mut reply = question.reply(ResponseCode::NoError);
        reply.metadata.truncation = true;
        packed(&reply)
    };
    let plan1 = plan(move |question| match (question.kind, question.over_tcp) {
        (RecordType::MX, false) => truncated(question),
        (RecordType::MX, true) => question.answers(&[("example.test.", mx(10, "mx.test."))]),
        _ => question.any_address(),
    });
    assert_eq!(hosts(plan1.await), ["mx.test=8.0.0.1:25"]);
    let plan2 = plan(move |question| if question.over_tcp { None } else { truncated(question) });
    deferred(plan2.await);
}

#[tokio::test]
async fn aliases_are_followed_for_the_domain_and_for_its_servers() {
    let alias = |target: &str| RData::CNAME(CNAME(name(target)));
    let plan1 = plan(move |question| match (question.kind, question.name.as_str()) {
        (RecordType::MX, "example.test.") => {
            question.answers(&[("example.test.", alias("real.test.")), ("real.test.", mx(10, "mx.test."))])
        }
        (RecordType::A, "mx.test.") => {
            question.answers(&[("mx.test.", alias("host.test.")), ("host.test.", RData::A(A::new(8, 0, 0, 7)))])
        }
        _ => question.none(ResponseCode::NoError),
    });
    assert_eq!(hosts(plan1.await), ["mx.test=8.0.0.7:25"]);
    // An alias of a name that does not exist, and one that bites its own tail.
    let plan2 = plan(move |question| match question.name.as_str() {
        "example.test." => question.answers(&[("example.test.", alias("gone.test."))]),
        _ => question.none(ResponseCode::NXDomain),
    });
    assert_eq!(bounced(plan2.await), Enhanced(5, 1, 2));
    let plan3 = plan(move |question| match question.name.as_str() {
        "example.test." => question.answers(&[("example.test.", alias("loop.test."))]),
        _ => question.answers(&[("loop.test.", alias("example.test."))]),
    });
    assert!(plan3.await.is_err());
}

#[tokio::test]
async fn answers_are_kept_and_failures_are_not() {
    let asked = Arc::new(AtomicUsize::new(0));
    let failing = Arc::new(AtomicUsize::new(1));
    let server = serve({
        let (asked, failing) = (Arc::clone(&asked), Arc::clone(&failing));
        move |question| match question.kind {
            RecordType::MX if failing.load(Ordering::SeqCst) == 1 => packed(&question.reply(ResponseCode::ServFail)),
            RecordType::MX => {
                asked.fetch_add(1, Ordering::SeqCst);
                question.answers(&[("example.test.", mx(10, "mx.test."))])
            }
            _ => question.any_address(),
        }
    })
    .await;
    let resolver = resolver(server);
    deferred(resolver.plan("example.test").await);
    failing.store(0, Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(hosts(resolver.plan("example.test").await), ["mx.test=8.0.0.1:25"]);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_self_check_tells_a_dead_resolver_from_a_missing_name() {
    let alive = resolver(
        serve(|question| match (question.kind, question.name.as_str()) {
            (RecordType::NS, ".") => question.answers(&[(".", RData::NS(NS(name("a.root.test."))))]),
            (RecordType::PTR, "1.0.0.8.in-addr.arpa.") => {
                question.answers(&[("1.0.0.8.in-addr.arpa.", RData::PTR(PTR(name("Relay.test."))))])
            }
            _ => question.none(ResponseCode::NXDomain),
        })
        .await,
    );
    assert_eq!(alive.check_resolver().await, Ok(()));
    assert_eq!(alive.reverse_name("8.0.0.1".parse().unwrap()).await.as_deref(), Ok("relay.test"));
    assert_eq!(alive.reverse_name("8.0.0.2".parse().unwrap()).await, Err(LookupError::Absent));
    let dead = resolver(serve(|_| None).await);
    assert!(matches!(dead.check_resolver().await, Err(LookupError::Unknown(_))));
}
