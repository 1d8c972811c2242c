//! The operators' socket, from the other end: JSON over HTTP on a Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long one request may take: looking at what a server offers starts that server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing listens there.
    #[error("Carnet is not running at {}: {problem}; start it with `carnet up`, or name its configuration with --config", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// Carnet said no.
    #[error("{message}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// The stable code.
        code: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The answer could not be read.
    #[error(
        "Carnet's answer could not be understood: {0}; are `carnet` and the running Carnet of one version?"
    )]
    Garbled(String),
}

/// A client of the operators' socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// Of the Carnet that listens on `socket`.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Reads what is at `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, None).await
    }

    /// Has Carnet do what is at `path`, with `body`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(Method::POST, path, Some(to_json(body)?)).await
    }

    /// Puts `body` at `path`.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(Method::PUT, path, Some(to_json(body)?)).await
    }

    /// Removes what is at `path`.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, None).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, ClientError> {
        let asked = tokio::time::timeout(REQUEST_TIMEOUT, self.send(method, path, body)).await;
        let (status, bytes) = asked.map_err(|_| {
            self.unreachable(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))
        })??;
        if !status.is_success() {
            return Err(refusal(status, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Garbled(error.to_string()))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(why(&self.socket, &error)))?;
        let broken = |error: hyper::Error| self.unreachable(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driving = tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, "carnet");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| ClientError::Garbled(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let read = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        driving.abort();
        let read = read.map_err(|error| ClientError::Garbled(error.to_string()))?;
        Ok((status, read.to_bytes()))
    }

    fn unreachable(&self, problem: String) -> ClientError {
        ClientError::Unreachable { socket: self.socket.clone(), problem }
    }
}

fn to_json(body: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    serde_json::to_vec(body).map_err(|error| ClientError::Garbled(error.to_string()))
}

fn why(socket: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        std::io::ErrorKind::ConnectionRefused => "nothing listens on the socket".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            let dir = socket.parent().unwrap_or(socket);
            format!("permission denied: your user must be able to enter {}", dir.display())
        }
        _ => error.to_string(),
    }
}

fn refusal(status: StatusCode, bytes: &[u8]) -> ClientError {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let plain = || String::from_utf8_lossy(bytes).chars().take(512).collect::<String>();
    ClientError::Refused {
        status,
        code: text("code").unwrap_or_else(|| "refused".to_owned()),
        message: text("message").unwrap_or_else(plain),
    }
}

/// `text` as one segment of a path or one value of a query.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_carnet_that_is_not_running_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("operator.sock");
        let error = Client::new(socket.clone()).get::<Value>("/v1/status").await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ClientError::Unreachable { .. }));
        assert!(
            text.contains(&socket.display().to_string()) && text.contains("carnet up"),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_says_what_carnet_said() {
        let body = br#"{"code":"not_found","message":"there is no task `task_1`"}"#;
        let error = refusal(StatusCode::NOT_FOUND, body);
        assert_eq!(error.to_string(), "there is no task `task_1`");
        assert!(matches!(error, ClientError::Refused { code, .. } if code == "not_found"));
        assert_eq!(refusal(StatusCode::BAD_REQUEST, b"no JSON").to_string(), "no JSON");
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("../a?b"), "..%2Fa%3Fb");
    }
}
