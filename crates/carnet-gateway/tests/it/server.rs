//! An MCP server made for the test: it answers as it is told, and remembers what it saw.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Script = Arc<dyn Fn(&Seen) -> Act + Send + Sync>;

/// One request, as the server got it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) http: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) message: Value,
}

impl Seen {
    /// The JSON-RPC method, or the HTTP one where there is no message.
    pub(crate) fn method(&self) -> &str {
        match self.message["method"].as_str() {
            Some(method) => method,
            None if self.message.is_object() => "answer",
            None => self.http.as_str(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A result for this request.
    pub(crate) fn result(&self, result: Value) -> String {
        json!({ "jsonrpc": "2.0", "id": self.message["id"], "result": result }).to_string()
    }
}

/// What the server does with a request.
pub(crate) enum Act {
    /// Answers with JSON.
    Json(String),
    /// Answers with this status, headers and text.
    Http(u16, Vec<(&'static str, &'static str)>, String),
    /// Answers with events, for as long as the other end sends some.
    Events(mpsc::Receiver<String>),
    /// Takes it without an answer.
    Accept,
    /// Closes the connection without a word.
    Die,
    /// Says nothing until the client is gone.
    Hang,
}

/// A text as a tool's result.
pub(crate) fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

/// Events that are all there already.
pub(crate) fn events(all: impl IntoIterator<Item = String>) -> Act {
    let (sender, receiver) = mpsc::channel(64);
    for event in all {
        sender.try_send(event).unwrap();
    }
    Act::Events(receiver)
}

/// One event that holds a message.
pub(crate) fn event(message: &str) -> String {
    format!("data: {message}\n\n")
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<State>,
    serving: Arc<Serving>,
}

struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct State {
    seen: watch::Sender<Vec<Seen>>,
    scripts: Mutex<BTreeMap<String, Script>>,
    /// The result of `tools/list`, as it is written.
    tools: Mutex<String>,
    version: Mutex<&'static str>,
    /// How many requests that were held or streamed to were dropped by the client.
    left: watch::Sender<usize>,
}

impl Server {
    pub(crate) async fn start(tools: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let state = Arc::new(State {
            seen: watch::Sender::default(),
            scripts: Mutex::default(),
            tools: Mutex::new(tools.to_owned()),
            version: Mutex::new(""),
            left: watch::Sender::default(),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { url, state, serving: Arc::new(Serving(serving.abort_handle())) }
    }

    /// Answers `method` so from now on.
    pub(crate) fn on(&self, method: &str, script: impl Fn(&Seen) -> Act + Send + Sync + 'static) {
        self.state.scripts.lock().unwrap().insert(method.to_owned(), Arc::new(script));
    }

    /// Offers these tools from now on.
    pub(crate) fn offer(&self, tools: &str) {
        *self.state.tools.lock().unwrap() = tools.to_owned();
    }

    /// Answers `initialize` with this version, whatever is asked for.
    pub(crate) fn speak(&self, version: &'static str) {
        *self.state.version.lock().unwrap() = version;
    }

    /// Stops listening: connections are refused from now on.
    pub(crate) fn stop(&self) {
        self.serving.0.abort();
    }

    /// What was seen of `method`.
    pub(crate) fn seen(&self, method: &str) -> Vec<Seen> {
        self.state.seen.borrow().iter().filter(|seen| seen.method() == method).cloned().collect()
    }

    pub(crate) fn seen_at_all(&self) -> usize {
        self.state.seen.borrow().len()
    }

    /// Waits for the `count`th request of `method`.
    pub(crate) async fn wait_for(&self, method: &str, count: usize) -> Seen {
        let mut seen = self.state.seen.subscribe();
        let is_there =
            |all: &Vec<Seen>| all.iter().filter(|seen| seen.method() == method).count() >= count;
        let all = seen.wait_for(is_there).await.unwrap();
        all.iter().filter(|seen| seen.method() == method).nth(count - 1).unwrap().clone()
    }

    /// Waits until `count` requests were dropped by the other side.
    pub(crate) async fn left(&self, count: usize) {
        self.state.left.subscribe().wait_for(|left| *left >= count).await.unwrap();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Counts a client that left before its answer was whole.
struct Leaving {
    state: Arc<State>,
    is_done: bool,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if !self.is_done {
            self.state.left.send_modify(|left| *left += 1);
        }
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let message = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let seen = Seen { http: parts.method, headers: parts.headers, body, message };
    let script = state.scripts.lock().unwrap().get(seen.method()).cloned();
    let act = script.map_or_else(|| ordinary(&state, &seen), |script| script(&seen));
    state.seen.send_modify(|all| all.push(seen.clone()));
    let mut leaving = Leaving { state: Arc::clone(&state), is_done: false };
    match act {
        Act::Hang => std::future::pending().await,
        Act::Events(receiver) => Ok(stream(receiver, leaving)),
        act => {
            leaving.is_done = true;
            plain(act, &seen)
        }
    }
}

fn plain(act: Act, seen: &Seen) -> Result<Response<Body>, std::io::Error> {
    let (status, headers, text) = match act {
        Act::Json(text) => (200, vec![("content-type", "application/json")], text),
        Act::Http(status, headers, text) => (status, headers, text),
        Act::Accept => (202, vec![], String::new()),
        Act::Die | Act::Hang | Act::Events(_) => return Err(std::io::Error::other("dead")),
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    if seen.method() == "initialize" && status == 200 {
        response = response.header("mcp-session-id", "upstream-1");
    }
    Ok(response.body(Full::new(Bytes::from(text)).boxed_unsync()).unwrap())
}

fn stream(receiver: mpsc::Receiver<String>, leaving: Leaving) -> Response<Body> {
    let mut streaming = (receiver, leaving);
    let stream = futures::stream::poll_fn(move |context| {
        let (receiver, leaving) = &mut streaming;
        let next = receiver.poll_recv(context);
        leaving.is_done |= matches!(next, std::task::Poll::Ready(None));
        next
    });
    let frames = stream.map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(event))));
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(StreamBody::new(frames).boxed_unsync())
        .unwrap()
}

/// What a server without surprises does.
fn ordinary(state: &State, seen: &Seen) -> Act {
    match seen.method() {
        "initialize" => {
            let wanted = &seen.message["params"]["protocolVersion"];
            let version = match *state.version.lock().unwrap() {
                "" => wanted.clone(),
                other => json!(other),
            };
            Act::Json(seen.result(json!({
                "protocolVersion": version,
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "desk", "version": "1" },
            })))
        }
        "server/discover" => Act::Json(seen.result(json!({ "capabilities": { "tools": {} } }))),
        "tools/list" => {
            let id = &seen.message["id"];
            let tools = state.tools.lock().unwrap();
            Act::Json(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{tools}}}"#))
        }
        "tools/call" => Act::Json(seen.result(text("done"))),
        "GET" => Act::Http(405, vec![], String::new()),
        _ => Act::Accept,
    }
}
