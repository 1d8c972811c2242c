//! One HTTP/1.1 connection that stays open and carries one call at a time.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header, request::Builder};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{
    ANSWER_BYTES_MAX, ANSWER_WAIT_MAX, LoadError, Plan, Revision, answer, credential::Shown,
    message,
};

const SESSION_HEADER: &str = "mcp-session-id";
/// The longest a server is waited for that was told that a session is over.
const LEAVE_WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    plan: Rc<Plan>,
    sender: SendRequest<Full<Bytes>>,
    /// The URL without its query: what a proof names.
    target: String,
    number: usize,
    session: Option<HeaderValue>,
    io: tokio::task::JoinHandle<()>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    took: Duration,
}

impl Connection {
    /// Connects and introduces itself: `initialize` with a session, or `server/discover` without one.
    pub(super) async fn open(plan: Rc<Plan>, number: usize) -> Result<Self, LoadError> {
        let authority = plan.url.authority().map(ToString::to_string).unwrap_or_default();
        let port = plan.url.port_u16().unwrap_or(80);
        let host = plan.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let failed = |source| LoadError::Connection { authority: authority.clone(), source };
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, io) = http1::handshake(TokioIo::new(stream)).await?;
        // The caller learns of a broken connection from its own request; the driver has nothing to add.
        let io = tokio::spawn(async move { drop(io.await) });
        let target = format!("http://{authority}{}", plan.url.path());
        let mut connection = Self { plan, sender, target, number, session: None, io };
        connection.introduce().await?;
        Ok(connection)
    }

    /// Calls the tool once and checks its answer.
    pub(super) async fn call(&mut self, count: u64) -> Result<Duration, LoadError> {
        let text = format!("connection {} call {count}", self.number);
        let call = message::call(self.plan.revision, count, &self.plan.tool, &text);
        let answer = self.post(&call, "tools/call", true).await?;
        answer::check_echo(&answer.result(count)?, &text)?;
        Ok(answer.took)
    }

    /// Takes its leave: ends its session, where it has one. A server may refuse that, and one that
    /// does not answer is not waited for; the connection ends all the same.
    pub(super) async fn close(mut self) {
        let Some(session) = self.session.take() else { return };
        let Ok(request) = self.leave(session) else { return };
        let left = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await.map(drop)
        };
        drop(tokio::time::timeout(LEAVE_WAIT_MAX, left).await);
    }

    fn leave(&self, session: HeaderValue) -> Result<Request<Full<Bytes>>, LoadError> {
        let shown = self.plan.credential.show("DELETE", &self.target)?;
        let path = self.plan.url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::delete(path)
            .header(header::HOST, self.plan.url.authority().map_or("", |host| host.as_str()))
            .header("mcp-protocol-version", self.plan.revision.as_str())
            .header(SESSION_HEADER, session);
        Ok(with(request, shown).body(Full::default())?)
    }

    async fn introduce(&mut self) -> Result<(), LoadError> {
        match self.plan.revision {
            Revision::V2026_07_28 => {
                let answer = self.post(&message::discover(), "server/discover", false).await?;
                answer.result(0).map(drop)
            }
            Revision::V2025_11_25 => {
                let answer = self.post(&message::initialize(), "initialize", false).await?;
                answer.result(0)?;
                self.session = answer.headers.get(SESSION_HEADER).cloned();
                let method = "notifications/initialized";
                let noted = self.post(&message::initialized(), method, false).await?;
                if noted.status.is_success() { Ok(()) } else { Err(noted.refusal()) }
            }
        }
    }

    async fn post(
        &mut self,
        message: &Value,
        method: &'static str,
        names_tool: bool,
    ) -> Result<Answer, LoadError> {
        // Everything that is the client's own work, the proof included, is done before the clock starts.
        let request = self.request(message, method, names_tool)?;
        self.sender.ready().await?;
        let begun = Instant::now();
        let exchange = async {
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(broken) => LoadError::Http(*broken),
                // The rest of the body is still on its way: this connection cannot be used again.
                Err(_) => LoadError::Plan(format!("an answer is over {ANSWER_BYTES_MAX} bytes")),
            })?;
            Ok((head, body.to_bytes()))
        };
        let answered = tokio::time::timeout(ANSWER_WAIT_MAX, exchange).await;
        let (head, body) = answered.unwrap_or(Err(LoadError::Silence))?;
        Ok(Answer { status: head.status, headers: head.headers, body, took: begun.elapsed() })
    }

    fn request(
        &self,
        message: &Value,
        method: &'static str,
        names_tool: bool,
    ) -> Result<Request<Full<Bytes>>, LoadError> {
        let shown = self.plan.credential.show("POST", &self.target)?;
        let path = self.plan.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::post(path)
            .header(header::HOST, self.plan.url.authority().map_or("", |host| host.as_str()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream");
        if method != "initialize" {
            request = request.header("mcp-protocol-version", self.plan.revision.as_str());
        }
        if self.plan.revision == Revision::V2026_07_28 {
            request = request.header("mcp-method", method);
            if names_tool {
                request = request.header("mcp-name", &self.plan.tool);
            }
        }
        if let Some(session) = &self.session {
            request = request.header(SESSION_HEADER, session);
        }
        Ok(with(request, shown).body(Full::new(Bytes::from(message.to_string())))?)
    }
}

/// The request with what it has to show.
fn with(mut request: Builder, shown: Shown) -> Builder {
    if let Some(authorization) = shown.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if let Some(proof) = shown.proof {
        request = request.header("dpop", proof);
    }
    request
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.io.abort();
    }
}

impl Answer {
    fn result(&self, id: u64) -> Result<Value, LoadError> {
        if self.status != StatusCode::OK {
            return Err(self.refusal());
        }
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_event_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        answer::result(&self.body, is_event_stream, id)
    }

    fn refusal(&self) -> LoadError {
        let shown: String = String::from_utf8_lossy(&self.body).chars().take(200).collect();
        LoadError::Answer(format!("status {}: {shown}", self.status))
    }
}
