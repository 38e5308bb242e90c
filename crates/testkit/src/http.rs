//! HTTP, as plain as it can be: over TCP to the pages, over the control socket to the operator's calls.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::wait::DEADLINE;

/// What a web server answered.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Response {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// Gets `path` from `address`.
///
/// # Panics
/// When there is no HTTP answer.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    try_get(address, path).unwrap_or_else(|error| panic!("GET http://{address}{path}: {error}"))
}

pub fn try_get(address: SocketAddr, path: &str) -> io::Result<Response> {
    let socket = TcpStream::connect_timeout(&address, DEADLINE)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    exchange(socket, "GET", path, &address.to_string(), "")
}

/// A call over the socket at `path`.
pub fn over_socket(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<Response> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    exchange(stream, method, path, "localhost", body)
}

fn exchange(mut stream: impl Read + Write, method: &str, path: &str, host: &str, body: &str) -> io::Result<Response> {
    // HTTP/1.0 keeps the answer free of chunks, and its end is the connection's.
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\n");
    if !body.is_empty() {
        request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (headers, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no HTTP: {headers:?}")))?;
    Ok(Response { status, headers: headers.to_owned(), body: body.to_owned() })
}
