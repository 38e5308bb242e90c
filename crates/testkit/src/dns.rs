//! A DNS server that answers as told, also wrongly.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, MX, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

const TTL_SECS: u32 = 60;

/// What is answered to one question.
#[derive(Debug, Clone)]
pub enum Answer {
    Mx(Vec<(u16, String)>),
    A(Vec<Ipv4Addr>),
    Cname(String),
    Txt(String),
    /// The name exists, but has nothing of this type.
    NoData,
    NxDomain,
    ServFail,
    Refused,
    /// No answer at all.
    Silent,
    /// Truncated over UDP, this over TCP.
    OnlyByTcp(Box<Answer>),
}

/// A running DNS server on a port of loopback, UDP and TCP. What it has no answer for does not exist.
#[derive(Debug)]
pub struct Zone {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<HashMap<(String, RecordType), Answer>>,
    questions: Mutex<Vec<(String, RecordType)>>,
    stopping: AtomicBool,
}

impl Zone {
    pub fn start() -> Zone {
        // The same port for both: TCP first, since its ports are the scarcer ones.
        let (tcp, udp) = (0..20)
            .find_map(|_| {
                let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
                let udp = UdpSocket::bind(tcp.local_addr().ok()?).ok()?;
                Some((tcp, udp))
            })
            .expect("a port that is free for UDP and TCP");
        udp.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout can be set");
        let address = udp.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve_udp(&shared, &udp)
        });
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve_tcp(&shared, &tcp)
        });
        Zone { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn put(&self, name: &str, kind: RecordType, answer: Answer) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.shared.answers.lock().expect("no thread panics with it").insert((name, kind), answer);
    }

    pub fn mx(&self, name: &str, hosts: &[(u16, &str)]) -> &Zone {
        let hosts = hosts.iter().map(|(preference, host)| (*preference, (*host).to_owned())).collect();
        self.put(name, RecordType::MX, Answer::Mx(hosts));
        self
    }

    pub fn a(&self, name: &str, addresses: &[[u8; 4]]) -> &Zone {
        self.put(name, RecordType::A, Answer::A(addresses.iter().map(|octets| Ipv4Addr::from(*octets)).collect()));
        self
    }

    /// Any answer, to a question for MX.
    pub fn mx_answer(&self, name: &str, answer: Answer) -> &Zone {
        self.put(name, RecordType::MX, answer);
        self
    }

    /// The same failure for MX, A and AAAA.
    pub fn fails(&self, name: &str, answer: &Answer) -> &Zone {
        for kind in [RecordType::MX, RecordType::A, RecordType::AAAA] {
            self.put(name, kind, answer.clone());
        }
        self
    }

    /// How often this was asked.
    pub fn asked(&self, name: &str, kind: RecordType) -> usize {
        let questions = self.shared.questions.lock().expect("no thread panics with it");
        questions.iter().filter(|(asked, of)| asked == name && *of == kind).count()
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a TCP connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve_udp(shared: &Shared, socket: &UdpSocket) {
    let mut packet = [0_u8; 4096];
    while !shared.stopping.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
        if let Some(reply) = shared.reply(&packet[..length], false) {
            // Who asked may be gone.
            let _ = socket.send_to(&reply, from);
        }
    }
}

fn serve_tcp(shared: &Arc<Shared>, listener: &TcpListener) {
    for socket in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut socket) = socket else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut length = [0_u8; 2];
            while socket.read_exact(&mut length).is_ok() {
                let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
                if socket.read_exact(&mut packet).is_err() {
                    return;
                }
                let Some(reply) = shared.reply(&packet, true) else { continue };
                let Ok(length) = u16::try_from(reply.len()) else { return };
                if socket.write_all(&[&length.to_be_bytes(), reply.as_slice()].concat()).is_err() {
                    return;
                }
            }
        });
    }
}

impl Shared {
    fn reply(&self, packet: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(packet).ok()?;
        let query = question.queries.first()?.clone();
        let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let kind = query.query_type();
        self.questions.lock().expect("no thread panics with it").push((name.clone(), kind));
        let answer = self.answer(&name, kind);
        let mut reply = Message::new(question.id, MessageType::Response, OpCode::Query);
        reply.metadata.recursion_desired = question.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(query.clone());
        let answer = match answer {
            Answer::Silent => return None,
            Answer::OnlyByTcp(answer) if tcp => *answer,
            Answer::OnlyByTcp(_) => {
                reply.metadata.truncation = true;
                return reply.to_vec().ok();
            }
            other => other,
        };
        match answer {
            Answer::NxDomain => reply.metadata.response_code = ResponseCode::NXDomain,
            Answer::ServFail => reply.metadata.response_code = ResponseCode::ServFail,
            Answer::Refused => reply.metadata.response_code = ResponseCode::Refused,
            other => {
                for data in records(other) {
                    reply.add_answer(Record::from_rdata(query.name().clone(), TTL_SECS, data));
                }
            }
        }
        reply.to_vec().ok()
    }

    fn answer(&self, name: &str, kind: RecordType) -> Answer {
        let answers = self.answers.lock().expect("no thread panics with it");
        if let Some(answer) = answers.get(&(name.to_owned(), kind)) {
            return answer.clone();
        }
        let exists = answers.keys().any(|(other, _)| other == name);
        if exists { Answer::NoData } else { Answer::NxDomain }
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_str(text).expect("a test's names are names");
    name.set_fqdn(true);
    name
}

fn records(answer: Answer) -> Vec<RData> {
    match answer {
        Answer::Mx(hosts) => {
            hosts.into_iter().map(|(preference, host)| RData::MX(MX::new(preference, name(&host)))).collect()
        }
        Answer::A(addresses) => addresses.into_iter().map(|address| RData::A(A(address))).collect(),
        Answer::Cname(target) => vec![RData::CNAME(CNAME(name(&target)))],
        Answer::Txt(text) => vec![RData::TXT(TXT::new(vec![text]))],
        _ => Vec::new(),
    }
}
