//! One session of a sink.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Act, Event, Receipt, Recipient, Shared, Step};
use crate::wire::Wire;

/// RFC 5321 §4.5.3.1.6, with its CRLF.
const LINE_OCTETS_MAX: usize = 1000;

/// Longer than any client's own time-out, so that it is the client that gives up.
const IDLE_MAX: Duration = Duration::from_secs(900);

pub(super) fn run(shared: &Shared, socket: TcpStream, number: usize) -> io::Result<()> {
    let wire = Wire::new(socket, IDLE_MAX)?;
    let mut session = Session {
        shared,
        number,
        connected_at: Instant::now(),
        wire: Some(wire),
        here: HashMap::new(),
        helo: String::new(),
        transaction: None,
        last_receipt: None,
        offered: Vec::new(),
    };
    session.talk()
}

/// How a step ended.
enum Next {
    /// A reply of this code was given.
    Replied(u16),
    /// The script closed the connection.
    Closed,
}

#[derive(Debug)]
struct Transaction {
    from: String,
    parameters: Vec<String>,
    recipients: Vec<Recipient>,
}

struct Session<'a> {
    shared: &'a Shared,
    number: usize,
    connected_at: Instant,
    /// `None` once the script closed it.
    wire: Option<Wire>,
    here: HashMap<Step, usize>,
    helo: String,
    transaction: Option<Transaction>,
    /// Index of the receipt whose reply the peer may not have read yet.
    last_receipt: Option<usize>,
    /// What the last reply to EHLO offered.
    offered: Vec<String>,
}

impl Session<'_> {
    fn wire(&mut self) -> io::Result<&mut Wire> {
        self.wire.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn talk(&mut self) -> io::Result<()> {
        if let Next::Closed = self.step(Step::Connect, "", "220 sink.test ESMTP")? {
            return Ok(());
        }
        while let Some(line) = self.wire()?.line()? {
            if let Some(index) = self.last_receipt.take() {
                self.shared.change(|ledger| ledger.receipts[index].reply_seen = true);
            }
            let line = self.checked(&line);
            match self.command(&line)? {
                Next::Replied(_) => {}
                Next::Closed => return Ok(()),
            }
            if line.eq_ignore_ascii_case("QUIT") {
                if let Some(wire) = self.wire.take() {
                    self.shared.forget(self.number);
                    wire.close();
                }
                return Ok(());
            }
        }
        Ok(())
    }

    fn violation(&self, text: String) {
        let text = format!("connection {}: {text}", self.number);
        self.shared.change(|ledger| ledger.violations.push(text));
    }

    fn offers(&self, keyword: &str) -> bool {
        self.offered.iter().any(|offer| offer.split(' ').next() == Some(keyword))
    }

    /// The line as text without its end; what is wrong with its octets is noted.
    fn checked(&self, line: &[u8]) -> String {
        let text = String::from_utf8_lossy(line).into_owned();
        let Some(text) = text.strip_suffix("\r\n") else {
            self.violation(format!("a bare LF: {text:?}"));
            return text.trim_end().to_owned();
        };
        if text.contains(['\r', '\0']) {
            self.violation(format!("a bare CR or NUL: {text:?}"));
        }
        if line.len() > 2048 {
            self.violation(format!("a command of {} octets", line.len()));
        }
        if !text.is_ascii() && !self.offers("SMTPUTF8") {
            self.violation(format!("UTF-8 without SMTPUTF8: {text:?}"));
        }
        if self.wire.as_ref().is_some_and(|wire| !wire.pending().is_empty()) && !self.offers("PIPELINING") {
            self.violation(format!("did not wait for the reply to {text:?}"));
        }
        text.to_owned()
    }

    fn command(&mut self, line: &str) -> io::Result<Next> {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let argument = line.split_once(' ').map_or("", |(_, rest)| rest);
        match verb.as_str() {
            "EHLO" => self.ehlo(line, argument),
            "HELO" => {
                argument.clone_into(&mut self.helo);
                self.offered.clear();
                self.step(Step::Helo, line, "250 sink.test")
            }
            "STARTTLS" => self.starttls(line),
            "MAIL" => self.mail(line, argument),
            "RCPT" => self.rcpt(line, argument),
            "DATA" => self.data(line),
            "RSET" => {
                self.transaction = None;
                self.step(Step::Rset, line, "250 2.0.0 reset")
            }
            "NOOP" => self.step(Step::Noop, line, "250 2.0.0 fine"),
            "QUIT" => self.step(Step::Quit, line, "221 2.0.0 bye"),
            _ => self.step(Step::Other, line, "500 5.5.1 what?"),
        }
    }

    fn ehlo(&mut self, line: &str, argument: &str) -> io::Result<Next> {
        argument.clone_into(&mut self.helo);
        self.transaction = None;
        let tls = self.wire()?.tls;
        let offers: Vec<String> =
            self.shared.extensions.iter().filter(|offer| !(tls && *offer == "STARTTLS")).cloned().collect();
        let mut reply = "250-sink.test".to_owned();
        for offer in &offers {
            reply.push_str("\n250-");
            reply.push_str(offer);
        }
        reply.push_str("\n250 HELP");
        let next = self.step(Step::Ehlo, line, &reply)?;
        self.offered = if let Next::Replied(250) = next { offers } else { Vec::new() };
        Ok(next)
    }

    fn starttls(&mut self, line: &str) -> io::Result<Next> {
        let Some(config) = self.shared.tls.clone() else {
            self.violation("STARTTLS was not offered".to_owned());
            return self.step(Step::StartTls, line, "502 5.5.1 no TLS here");
        };
        match self.step(Step::StartTls, line, "220 2.0.0 go ahead")? {
            Next::Replied(220) => {}
            other => return Ok(other),
        }
        if !self.wire()?.pending().is_empty() {
            self.violation("sent on in plain after STARTTLS".to_owned());
        }
        self.offered.clear();
        self.transaction = None;
        match self.ask_script(Step::Handshake, "") {
            Act::Accept => self.wire()?.accept_tls(config)?,
            act => return self.perform(act, ""),
        }
        Ok(Next::Replied(220))
    }

    fn mail(&mut self, line: &str, argument: &str) -> io::Result<Next> {
        let (from, parameters) = path(argument, "FROM:");
        for parameter in &parameters {
            let keyword = parameter.split('=').next().unwrap_or_default();
            let extension = match keyword {
                "BODY" => "8BITMIME",
                "RET" | "ENVID" => "DSN",
                other => other,
            };
            if !self.offers(extension) {
                self.violation(format!("{keyword} without {extension}: {line}"));
            }
        }
        let next = self.step(Step::Mail, line, "250 2.1.0 ok")?;
        if let Next::Replied(200..=299) = next {
            self.transaction = Some(Transaction { from, parameters, recipients: Vec::new() });
        }
        Ok(next)
    }

    fn rcpt(&mut self, line: &str, argument: &str) -> io::Result<Next> {
        let (address, parameters) = path(argument, "TO:");
        if !parameters.is_empty() && !self.offers("DSN") {
            self.violation(format!("a parameter without DSN: {line}"));
        }
        if self.transaction.is_none() {
            return self.step(Step::Rcpt, line, "503 5.5.1 MAIL first");
        }
        let next = self.step(Step::Rcpt, line, "250 2.1.5 ok")?;
        if let (Next::Replied(200..=299), Some(transaction)) = (&next, &mut self.transaction) {
            transaction.recipients.push(Recipient { address, parameters });
        }
        Ok(next)
    }

    fn data(&mut self, line: &str) -> io::Result<Next> {
        if self.transaction.as_ref().is_none_or(|transaction| transaction.recipients.is_empty()) {
            return self.step(Step::Data, line, "554 5.5.1 no valid recipients");
        }
        match self.step(Step::Data, line, "354 go ahead")? {
            Next::Replied(354) => {}
            other => return Ok(other),
        }
        if self.wire()?.pending().is_empty() {
            self.wire()?.fill()?;
        }
        match self.ask_script(Step::Body, "") {
            Act::Accept => {}
            act => {
                if let Next::Closed = self.perform(act, "")? {
                    return Ok(Next::Closed);
                }
            }
        }
        let data = self.content()?;
        self.check_content(&data);
        let Some(transaction) = self.transaction.take() else { return Ok(Next::Closed) };
        let index = self.record(transaction, data)?;
        let next = self.step(Step::Dot, "", "250 2.0.0 taken")?;
        if let Next::Replied(code) = next {
            self.shared.change(|ledger| {
                let receipt = &mut ledger.receipts[index];
                (receipt.replied, receipt.replied_at) = (Some(code), Some(Instant::now()));
            });
            // What was sent ahead of the reply says nothing about whether it is read.
            if self.wire()?.pending().is_empty() {
                self.last_receipt = Some(index);
            }
        }
        Ok(next)
    }

    fn record(&mut self, transaction: Transaction, mut data: Vec<u8>) -> io::Result<usize> {
        if !self.shared.keep_bodies {
            let header = data.windows(4).position(|four| four == b"\r\n\r\n").map_or(data.len(), |at| at + 4);
            data.truncate(header);
        }
        let receipt = Receipt {
            connection: self.number,
            connected_at: self.connected_at,
            tls: self.wire()?.tls,
            helo: self.helo.clone(),
            from: transaction.from,
            parameters: transaction.parameters,
            recipients: transaction.recipients,
            data,
            dot_at: Instant::now(),
            replied: None,
            replied_at: None,
            reply_seen: false,
        };
        Ok(self.shared.change(|ledger| {
            ledger.receipts.push(receipt);
            ledger.receipts.len() - 1
        }))
    }

    /// Reads up to the final dot, and unstuffs.
    fn content(&mut self) -> io::Result<Vec<u8>> {
        let wire = self.wire()?;
        let mut raw = wire.take_pending();
        let mut searched = 0;
        let end = loop {
            if raw.starts_with(b".\r\n") {
                break 0;
            }
            // A terminator may lie across two reads.
            let from = searched_from(searched);
            if let Some(at) = memchr::memmem::find(&raw[from..], b"\r\n.\r\n") {
                break from + at + 2;
            }
            searched = raw.len();
            if wire.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            raw.extend(wire.take_pending());
        };
        wire.give_back(raw.split_off(end + 3));
        raw.truncate(end);
        let mut content = Vec::with_capacity(raw.len());
        for line in raw.split_inclusive(|b| *b == b'\n') {
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        Ok(content)
    }

    fn check_content(&self, data: &[u8]) {
        let mut line_start = 0;
        for index in memchr::memchr3_iter(b'\r', b'\n', 0, data) {
            let bare = match data[index] {
                b'\n' => index == 0 || data[index - 1] != b'\r',
                b'\r' => data.get(index + 1) != Some(&b'\n'),
                _ => true,
            };
            if bare {
                self.violation(format!("a bare {:#04x} at octet {index} of the content", data[index]));
                return;
            }
            if data[index] == b'\n' {
                let octets = index + 1 - line_start;
                if octets > LINE_OCTETS_MAX {
                    self.violation(format!("a line of {octets} octets in the content"));
                }
                line_start = index + 1;
            }
        }
        let declared = |transaction: &Transaction| transaction.parameters.iter().any(|p| p == "BODY=8BITMIME");
        if !data.is_ascii() && !self.transaction.as_ref().is_some_and(declared) {
            self.violation("8-bit content without BODY=8BITMIME".to_owned());
        }
    }

    fn ask_script(&mut self, step: Step, line: &str) -> Act {
        let here = self.here.entry(step).or_insert(0);
        *here += 1;
        let nth_here = *here;
        let nth = self.shared.change(|ledger| {
            let count = ledger.reached.entry(step).or_insert(0);
            *count += 1;
            *count
        });
        let recipients = self.transaction.as_ref().map_or(0, |transaction| transaction.recipients.len());
        (self.shared.script)(&Event { step, connection: self.number, line, nth, nth_here, recipients })
    }

    fn step(&mut self, step: Step, line: &str, ordinary: &str) -> io::Result<Next> {
        let act = self.ask_script(step, line);
        self.perform(act, ordinary)
    }

    fn perform(&mut self, act: Act, ordinary: &str) -> io::Result<Next> {
        let code = |text: &str| text.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        match act {
            Act::Accept => {
                if !ordinary.is_empty() {
                    self.say(ordinary)?;
                }
                Ok(Next::Replied(code(ordinary)))
            }
            Act::Reply(text) => {
                self.say(&text)?;
                Ok(Next::Replied(code(&text)))
            }
            Act::Raw(bytes) => {
                self.wire()?.write(&bytes)?;
                Ok(Next::Replied(code(&String::from_utf8_lossy(&bytes))))
            }
            Act::After(time, act) => {
                if self.shared.pause(time) {
                    self.perform(*act, ordinary)
                } else {
                    Ok(Next::Closed)
                }
            }
            Act::Drip(bytes, pause) => {
                for byte in &bytes {
                    self.wire()?.write(&[*byte])?;
                    if !self.shared.pause(pause) {
                        return Ok(Next::Closed);
                    }
                }
                Ok(Next::Replied(code(&String::from_utf8_lossy(&bytes))))
            }
            Act::Endless(bytes) => loop {
                self.wire()?.write(&bytes)?;
            },
            Act::ReplyAndClose(text) => {
                self.say(&text)?;
                self.leave(Wire::close)
            }
            Act::Reset => self.leave(Wire::reset),
            Act::Close => self.leave(Wire::close),
            Act::Hang => {
                while self.wire()?.fill()? > 0 {
                    self.wire()?.take_pending();
                }
                self.leave(Wire::close)
            }
        }
    }

    fn leave(&mut self, how: impl FnOnce(Wire)) -> io::Result<Next> {
        // Our own handle would keep the connection open.
        self.shared.forget(self.number);
        if let Some(wire) = self.wire.take() {
            how(wire);
        }
        Ok(Next::Closed)
    }

    fn say(&mut self, lines: &str) -> io::Result<()> {
        let mut bytes = lines.replace('\n', "\r\n").into_bytes();
        bytes.extend_from_slice(b"\r\n");
        self.wire()?.write(&bytes)
    }
}

fn searched_from(searched: usize) -> usize {
    searched.saturating_sub(4)
}

/// `FROM:<ada@example.org> SIZE=5` taken apart: the path without brackets, and the parameters.
fn path(argument: &str, keyword: &str) -> (String, Vec<String>) {
    let rest = argument.get(keyword.len()..).unwrap_or_default().trim_start();
    // A quoted local part may hold a blank or a bracket.
    let mut quoted = false;
    let mut escaped = false;
    let end = rest.find(|c| {
        match c {
            '"' if !escaped => quoted = !quoted,
            '>' if !quoted => return true,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        false
    });
    let end = end.unwrap_or(rest.len());
    let address = rest.get(1..end).unwrap_or_default().to_owned();
    let parameters = rest.get(end + 1..).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    (address, parameters)
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(
            path("FROM:<a@b> SIZE=5 RET=HDRS", "FROM:"),
            ("a@b".into(), vec!["SIZE=5".into(), "RET=HDRS".into()])
        );
        assert_eq!(path("FROM:<>", "FROM:"), (String::new(), Vec::new()));
        assert_eq!(path("TO:<\"a> b\"@c> NOTIFY=NEVER", "TO:"), ("\"a> b\"@c".into(), vec!["NOTIFY=NEVER".into()]));
    }
}
