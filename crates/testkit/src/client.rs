//! A raw SMTP client: it sends what it is told, right or wrong.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use data_encoding::BASE64;

use crate::tls;
use crate::wait::DEADLINE;
use crate::wire::Wire;

/// A server's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// The texts of its lines, without the codes.
    pub lines: Vec<String>,
}

impl Reply {
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The id that the server gave the message, as the reply to its dot tells it.
    #[track_caller]
    pub fn message_id(&self) -> String {
        let text = self.text();
        let id =
            text.split([' ', '<', '>', ',', ';', '=']).find(|word| word.len() == 36 && word.matches('-').count() == 4);
        id.unwrap_or_else(|| panic!("no id in {self}")).to_owned()
    }

    /// Whether one of the lines of a reply to EHLO is this keyword.
    pub fn offers(&self, keyword: &str) -> bool {
        self.lines.iter().skip(1).any(|line| line.split(' ').next() == Some(keyword))
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

/// One connection to a server.
///
/// Methods panic when the server does something else than what the story expects; those named `try_` return what
/// went wrong on the connection.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

impl Client {
    /// Connects and takes the greeting.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        let mut client = Client::connect_silently(address);
        client.expect(220);
        client
    }

    /// Connects, and leaves the greeting unread.
    #[track_caller]
    pub fn connect_silently(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"))
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let socket = TcpStream::connect_timeout(&address, DEADLINE)?;
        Ok(Client { wire: Wire::new(socket, DEADLINE)? })
    }

    /// Connects from another address of this machine (127.0.0.0/8), as somebody else.
    #[track_caller]
    pub fn connect_from(source: [u8; 4], address: SocketAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("all of 127.0.0.0/8 is this machine");
        socket.connect(&address.into()).unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        let mut client = Client { wire: Wire::new(socket.into(), DEADLINE).expect("a connected socket") };
        client.expect(220);
        client
    }

    /// Connects to a port with implicit TLS and takes the greeting.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr) -> Client {
        let mut client = Client::connect_silently(address);
        client.wire.connect_tls(tls::client_config(), "localhost").expect("the handshake succeeds");
        client.expect(220);
        client
    }

    /// How long is waited for a reply.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.wire.set_deadline(deadline).expect("a deadline can be set");
    }

    /// Sends these bytes as they are.
    #[track_caller]
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).expect("the server reads on");
    }

    pub fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write(bytes.as_ref())
    }

    /// Sends a line, CRLF added.
    #[track_caller]
    pub fn writeln(&mut self, line: &str) {
        self.write(format!("{line}\r\n"));
    }

    /// The next reply.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        self.try_reply().unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// The next reply.
    ///
    /// # Errors
    /// When the connection ends or the deadline passes instead.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.wire.line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let line = line.strip_suffix("\r\n").ok_or_else(|| io::Error::other(format!("no CRLF: {line:?}")))?;
            let code = line.get(..3).and_then(|digits| digits.parse().ok());
            let code = code.ok_or_else(|| io::Error::other(format!("no reply: {line:?}")))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(Reply { code, lines }),
                Some(_) => return Err(io::Error::other(format!("no reply: {line:?}"))),
            }
        }
    }

    /// The next reply must have this code.
    #[track_caller]
    pub fn expect(&mut self, code: u16) -> Reply {
        let reply = self.reply();
        assert_eq!(reply.code, code, "{reply}");
        reply
    }

    /// Sends a line and takes the reply.
    #[track_caller]
    pub fn command(&mut self, line: &str) -> Reply {
        self.writeln(line);
        self.reply()
    }

    /// Sends a line and takes the reply, if the connection lives.
    pub fn try_command(&mut self, line: &str) -> io::Result<Reply> {
        self.try_write(format!("{line}\r\n"))?;
        self.try_reply()
    }

    /// Sends a line; the reply must have this code.
    #[track_caller]
    pub fn ask(&mut self, line: &str, code: u16) -> Reply {
        let reply = self.command(line);
        assert_eq!(reply.code, code, "{line}: {reply}");
        reply
    }

    #[track_caller]
    pub fn ehlo(&mut self) -> Reply {
        self.ask("EHLO client.test", 250)
    }

    /// STARTTLS, the handshake, and EHLO again.
    #[track_caller]
    pub fn starttls(&mut self) -> Reply {
        self.ask("STARTTLS", 220);
        self.handshake();
        self.ehlo()
    }

    /// The handshake alone. Nothing may have come after the 220.
    #[track_caller]
    pub fn handshake(&mut self) {
        assert!(self.wire.pending().is_empty(), "after 220: {:?}", String::from_utf8_lossy(self.wire.pending()));
        self.wire.connect_tls(tls::client_config(), "localhost").expect("the handshake succeeds");
    }

    pub fn try_handshake(&mut self) -> io::Result<()> {
        self.wire.connect_tls(tls::client_config(), "localhost")
    }

    /// AUTH PLAIN with an initial response (RFC 4616); the reply whatever it is.
    #[track_caller]
    pub fn auth_plain(&mut self, user: &str, password: &str) -> Reply {
        self.command(&format!("AUTH PLAIN {}", BASE64.encode(format!("\0{user}\0{password}").as_bytes())))
    }

    /// AUTH LOGIN; the last reply whatever it is.
    #[track_caller]
    pub fn auth_login(&mut self, user: &str, password: &str) -> Reply {
        self.ask("AUTH LOGIN", 334);
        self.ask(&BASE64.encode(user.as_bytes()), 334);
        self.command(&BASE64.encode(password.as_bytes()))
    }

    /// One message, from MAIL to the reply to its dot, which must be 250.
    #[track_caller]
    pub fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> Reply {
        let reply = self.submit(from, to, message);
        assert_eq!(reply.code, 250, "{reply}");
        reply
    }

    /// One message, from MAIL to the reply to its dot, whatever that is.
    #[track_caller]
    pub fn submit(&mut self, from: &str, to: &[&str], message: &[u8]) -> Reply {
        self.ask(&format!("MAIL FROM:<{from}>"), 250);
        for recipient in to {
            self.ask(&format!("RCPT TO:<{recipient}>"), 250);
        }
        self.data(message)
    }

    /// DATA, the message with its dots stuffed, the final dot; the reply whatever it is.
    #[track_caller]
    pub fn data(&mut self, message: &[u8]) -> Reply {
        self.ask("DATA", 354);
        self.write(stuffed(message));
        self.reply()
    }

    /// All of a message in one go; where the connection breaks, it says so.
    pub fn try_send(&mut self, from: &str, to: &str, message: &[u8]) -> io::Result<Reply> {
        for (line, code) in
            [(format!("MAIL FROM:<{from}>"), 250), (format!("RCPT TO:<{to}>"), 250), ("DATA".to_owned(), 354)]
        {
            let reply = self.try_command(&line)?;
            if reply.code != code {
                return Ok(reply);
            }
        }
        self.try_write(stuffed(message))?;
        self.try_reply()
    }

    #[track_caller]
    pub fn quit(mut self) {
        self.ask("QUIT", 221);
        self.expect_end();
    }

    /// The server closes, and says nothing more.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.wire.line() {
            Ok(None) => {}
            Ok(Some(line)) => panic!("not the end but {:?}", String::from_utf8_lossy(&line)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("not the end but {error}"),
        }
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        // The end is the end, orderly or not.
        while matches!(self.wire.fill(), Ok(count) if count > 0) {}
        self.wire.take_pending()
    }

    /// Leaves without a word, by a reset.
    pub fn reset(self) {
        self.wire.reset();
    }

    /// Leaves without a word.
    pub fn vanish(self) {
        self.wire.close();
    }
}

/// A message as DATA carries it: dots doubled (RFC 5321 §4.5.2), ended by CRLF and the dot.
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::stuffed;

    #[test]
    fn dots_are_doubled_and_the_last_line_ended() {
        assert_eq!(stuffed(b"a\r\n.b\r\n..\r\n"), b"a\r\n..b\r\n...\r\n.\r\n");
        assert_eq!(stuffed(b"a"), b"a\r\n.\r\n");
        assert_eq!(stuffed(b""), b".\r\n");
    }
}
