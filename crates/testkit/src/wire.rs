//! One connection, plain or under TLS, read by lines.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

/// Longer lines are not read on: nobody sends them but an attacker.
const LINE_OCTETS_MAX: usize = 1 << 20;

trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

/// Bytes that came and are not yet taken stay in `pending`.
pub(crate) struct Wire {
    socket: TcpStream,
    stream: Box<dyn ReadWrite>,
    pending: Vec<u8>,
    pub(crate) tls: bool,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("socket", &self.socket).field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, deadline: Duration) -> io::Result<Wire> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(deadline))?;
        socket.set_write_timeout(Some(deadline))?;
        let stream = Box::new(socket.try_clone()?);
        Ok(Wire { socket, stream, pending: Vec::new(), tls: false })
    }

    pub(crate) fn set_deadline(&self, deadline: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(deadline))
    }

    /// What the peer sent before it could have seen our last word.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// The handshake as server. Whatever came in plain before it is gone, as RFC 3207 §4.2 demands.
    pub(crate) fn accept_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        self.pending.clear();
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket)?;
        }
        self.stream = Box::new(StreamOwned::new(tls, self.socket.try_clone()?));
        self.tls = true;
        Ok(())
    }

    /// The handshake as client, with any certificate of the server's: what is tested is not our trust in it.
    pub(crate) fn connect_tls(&mut self, config: Arc<ClientConfig>, name: &str) -> io::Result<()> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket)?;
        }
        self.stream = Box::new(StreamOwned::new(tls, self.socket.try_clone()?));
        self.tls = true;
        Ok(())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads more; how many octets came, 0 at the end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0_u8; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(count) => {
                    self.pending.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A peer that is killed does not say good-bye to TLS.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next line, its LF included. `None`: the peer closed and nothing is left; a torn line is an error.
    pub(crate) fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.pending[searched..]) {
                return Ok(Some(self.pending.drain(..=searched + at).collect()));
            }
            searched = self.pending.len();
            if searched > LINE_OCTETS_MAX {
                return Err(io::Error::other("a line without end"));
            }
            if self.fill()? == 0 {
                return if self.pending.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Takes what is pending.
    pub(crate) fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Gives back what was taken too much.
    pub(crate) fn give_back(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.pending.is_empty(), "only what was just taken is given back");
        self.pending = bytes;
    }

    /// Closes so that the peer sees a reset (RST), not an orderly end.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.socket);
        // A connection that is already gone cannot be reset.
        let _ = socket.set_linger(Some(Duration::ZERO));
    }

    pub(crate) fn close(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
