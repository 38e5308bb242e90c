//! A GET, as plain as it can be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::DEADLINE;

/// What a web server answered.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

/// Gets `path` from `address`.
///
/// # Panics
/// When there is no HTTP answer.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    try_get(address, path).unwrap_or_else(|error| panic!("GET http://{address}{path}: {error}"))
}

pub fn try_get(address: SocketAddr, path: &str) -> std::io::Result<Response> {
    let mut socket = TcpStream::connect_timeout(&address, DEADLINE)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    // HTTP/1.0 keeps the answer free of chunks, and its end is the connection's.
    socket.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (headers, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP: {headers:?}")))?;
    Ok(Response { status, headers: headers.to_owned(), body: body.to_owned() })
}
