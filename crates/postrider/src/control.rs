//! The command line's side of the control socket: HTTP/1.1 over `control.sock` in the data directory.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::cli::failure::{Code, Failure};

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "control.sock";

/// A server that does not answer within this time hangs: its answers come from memory and from one database.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// A running server, as the command line sees it.
#[derive(Debug, Clone)]
pub struct Control {
    data: PathBuf,
}

impl Control {
    /// The server of this data directory; nobody is asked yet.
    pub fn new(data: &Path) -> Control {
        Control { data: data.to_owned() }
    }

    /// Whether a server answers.
    pub async fn is_running(&self) -> bool {
        UnixStream::connect(self.socket()).await.is_ok()
    }

    /// # Errors
    /// [`Code::NotRunning`] where there is no server, [`Code::NotFound`] where it does not know what was
    /// asked for, else [`Code::Failed`]; here and in [`Control::post`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::failed(error.to_string()))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, self.exchange(method, path, body));
        let (status, body) = answer.await.map_err(|_| {
            Failure::failed(format!("the server did not answer within {} s", ANSWER_TIME_MAX.as_secs()))
                .advise("It may be overloaded; its log says more.")
        })??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                Failure::failed(format!("the server's answer is not understood: {error}"))
                    .advise("Is it of another version than this program? Compare `postrider --version`.")
            });
        }
        let detail = match serde_json::from_slice::<web::Problem>(&body) {
            Ok(problem) => problem.detail,
            Err(_) => format!("the server answered {status}"),
        };
        let code = if status == StatusCode::NOT_FOUND { Code::NotFound } else { Code::Failed };
        Err(Failure::new(code, detail))
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
        let stream = UnixStream::connect(self.socket()).await.map_err(|error| self.unreachable(&error))?;
        let lost = |error: hyper::Error| {
            Failure::failed(format!("the server closed the control connection: {error}"))
                .advise("It may be stopping; its log says more.")
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/admin{path}"))
            .header(HOST, "control")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::failed(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(lost)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(lost)?.to_bytes();
        driver.abort();
        Ok((status, body))
    }

    fn socket(&self) -> PathBuf {
        self.data.join(SOCKET_NAME)
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let data = self.data.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Failure::new(Code::NotRunning, format!("no server is running on {data}")).advise(format!(
                    "Start it with `postrider serve --data {data}` (or `postrider dev --data {data}`), or name \
                     another directory with --data or --config."
                ))
            }
            io::ErrorKind::PermissionDenied => {
                Failure::failed(format!("{} may not be opened by this user", self.socket().display()))
                    .advise("Run the command as the user that runs the server.")
            }
            _ => Failure::failed(format!("cannot open {}: {error}", self.socket().display())),
        }
    }
}

/// A name as one part of a path or of a query (RFC 3986 §2.3).
pub fn escaped(text: &str) -> String {
    let unreserved = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~".contains(octet);
    text.bytes()
        .map(|octet| if unreserved(&octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_path() {
        assert_eq!(escaped("shop-1_a.b~"), "shop-1_a.b~");
        assert_eq!(escaped("my shop/2?é"), "my%20shop%2F2%3F%C3%A9");
    }

    #[tokio::test]
    async fn where_no_server_runs_the_advice_says_how_to_start_one() {
        let data = tempfile::tempdir().expect("a directory for the test");
        let control = Control::new(data.path());
        assert!(!control.is_running().await);
        let failure = control.get::<web::admin::types::Health>("/health").await.expect_err("nobody answers");
        assert_eq!(failure.code(), Code::NotRunning);
        let told = failure.to_string();
        assert!(told.starts_with(&format!("no server is running on {}\n", data.path().display())), "{told}");
        assert!(told.contains(&format!("postrider serve --data {}", data.path().display())), "{told}");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_serves_any_more_is_no_server() {
        let data = tempfile::tempdir().expect("a directory for the test");
        drop(tokio::net::UnixListener::bind(data.path().join(SOCKET_NAME)).expect("the socket can be made"));
        let failure = Control::new(data.path()).get::<web::admin::types::Health>("/health").await;
        assert_eq!(failure.expect_err("nobody answers").code(), Code::NotRunning);
    }
}
