use std::sync::Arc;

use base::MessageId;
use bytes::BytesMut;
use smtp::server::{Input, Limits, Login, Offer, Output, Session};

/// What a session said and did.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Deeds {
    pub(super) sent: Vec<u8>,
    /// The content of each message that came to its end.
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) closed: bool,
}

/// How a session ends whose client did not wait where it must (RFC 2920 §3.1): there the pieces in which its words
/// arrive do matter.
const DID_NOT_WAIT: &str = "must end its group";

/// A whole session, every question answered with yes. It says the same however its input is cut up, and only
/// replies.
pub fn commands(input: &[u8]) {
    let pieces: Vec<&[u8]> = super::cut(input).collect();
    let deeds = converse(&pieces);
    check(&deeds);
    let whole = pieces.concat();
    // A client that always waits.
    let lines: Vec<&[u8]> = whole.split_inclusive(|octet| *octet == b'\n').collect();
    let by_lines = converse(&lines);
    check(&by_lines);
    if ![&deeds, &by_lines].iter().any(|deeds| text(&deeds.sent).contains(DID_NOT_WAIT)) {
        assert_eq!(text(&deeds.sent), text(&by_lines.sent), "in pieces and by lines");
        assert_eq!(deeds.messages, by_lines.messages, "in pieces and by lines");
    }
}

fn check(deeds: &Deeds) {
    for line in deeds.sent.split_inclusive(|octet| *octet == b'\n') {
        let code =
            line.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|d| d.parse::<u16>().ok());
        assert!(code.is_some_and(|code| (200..600).contains(&code)), "{:?} is no reply", text(line));
        assert!(line.ends_with(b"\r\n") && line.len() <= 512, "{:?} is no reply", text(line));
    }
    for message in &deeds.messages {
        super::data::expect_clean(message);
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Lets a session have these pieces, one after the other.
pub(super) fn converse(pieces: &[&[u8]]) -> Deeds {
    let hostname = "relay.test".parse().expect("a good name");
    let offer = Arc::new(Offer { starttls: true, auth: smtp::server::AuthOffer::Always, ..Offer::new(hostname) });
    let limits = Limits { message_octets_max: 10_000, recipients_max: 5, ..Limits::default() };
    let mut session = Session::new(offer, limits, false);
    let mut buffer = BytesMut::new();
    let mut deeds = Deeds::default();
    let mut content = Vec::new();
    for piece in [&[][..]].iter().chain(pieces) {
        buffer.extend_from_slice(piece);
        while let Some(output) = session.poll(&mut buffer) {
            let answer = match output {
                Output::Send(reply) => {
                    deeds.sent.extend_from_slice(reply);
                    continue;
                }
                Output::Body(piece) => {
                    content.extend_from_slice(piece);
                    continue;
                }
                Output::AbortData => {
                    content.clear();
                    continue;
                }
                Output::Close => {
                    deeds.closed = true;
                    return deeds;
                }
                // What was pipelined behind STARTTLS is thrown away, so here how the input is cut up would
                // matter: the session ends.
                Output::StartTls => {
                    deeds.closed = true;
                    return deeds;
                }
                Output::Authenticate(_) => Input::Authenticated(Login::Accepted),
                Output::CheckMail { .. } => Input::Mail(Ok(())),
                Output::CheckRecipient { .. } => Input::Recipient(Ok(())),
                Output::BeginData(envelope) => {
                    assert!(!envelope.recipients.is_empty(), "content without recipients");
                    Input::Begin(Ok(()))
                }
                Output::EndData => {
                    deeds.messages.push(std::mem::take(&mut content));
                    Input::Stored(Ok(MessageId::from_bytes([1; 16])))
                }
            };
            session.handle(answer);
        }
    }
    deeds
}
