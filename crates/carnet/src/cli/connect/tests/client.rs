//! An MCP client that speaks lines.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carnet_core::Path;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::tool;
use crate::agent::fixture::{FakeCarnet, Received};
use crate::cli::connect::bridge::{Bridge, BridgeParts};
use crate::cli::connect::lines::Line;

/// How long anything may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client, the bridge it talks to, and the Carnet behind that.
pub(super) struct Client {
    pub(super) carnet: FakeCarnet,
    lines: Option<mpsc::Sender<Line>>,
    messages: mpsc::Receiver<Bytes>,
    running: Option<JoinHandle<()>>,
    pub(super) stop: CancellationToken,
}

impl Client {
    /// A client of a server with `look` and `list` on the read path and `send` on the write path;
    /// nothing on the admin path.
    pub(super) async fn start() -> Self {
        Self::holding(Duration::ZERO).await
    }

    pub(super) async fn holding(hold: Duration) -> Self {
        let carnet = FakeCarnet::start().await;
        carnet.close_path(Path::Admin, "invalid_target", "not_covered: nothing there");
        carnet.set(|state| {
            let offered = &mut state.offered;
            offered.insert((Path::Read, "tools/list"), vec![tool("look"), tool("list")]);
            offered.insert((Path::Write, "tools/list"), vec![tool("send")]);
        });
        let (out, messages) = mpsc::channel(64);
        let (lines, input) = mpsc::channel(64);
        let endpoints = carnet.endpoints(None);
        let bridge = Bridge::new(BridgeParts { endpoints, out, hold });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let running = tokio::spawn(async move { Arc::clone(&bridge).run(input, stopped).await });
        Self { carnet, lines: Some(lines), messages, running: Some(running), stop }
    }

    /// A client whose session is open, in `revision`.
    pub(super) async fn open(revision: &str) -> Self {
        let mut client = Self::start().await;
        client.initialize(revision).await;
        client
    }

    pub(super) async fn initialize(&mut self, revision: &str) -> Value {
        let params = json!({ "protocolVersion": revision, "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" } });
        let answer = self.ask(0, "initialize", params).await;
        self.say(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        answer
    }

    pub(super) async fn say(&self, message: Value) {
        self.say_line(Line::Message(Bytes::from(message.to_string()))).await;
    }

    pub(super) async fn say_line(&self, line: Line) {
        self.lines.as_ref().unwrap().send(line).await.unwrap();
    }

    pub(super) async fn request(&self, id: impl Into<Value>, method: &str, params: Value) {
        let id = id.into();
        self.say(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
    }

    pub(super) async fn ask(&mut self, id: impl Into<Value>, method: &str, params: Value) -> Value {
        self.request(id, method, params).await;
        self.hear().await
    }

    pub(super) async fn call(&mut self, id: impl Into<Value>, name: &str) -> Value {
        self.ask(id, "tools/call", json!({ "name": name, "arguments": {} })).await
    }

    pub(super) async fn hear(&mut self) -> Value {
        serde_json::from_slice(&self.hear_bytes().await).unwrap()
    }

    pub(super) async fn hear_bytes(&mut self) -> Bytes {
        let heard = tokio::time::timeout(PATIENCE, self.messages.recv()).await;
        heard.expect("nothing was said").expect("the bridge is gone")
    }

    /// What the client would see at its end: everything still said once it closed its side.
    pub(super) async fn end(&mut self) -> Vec<Value> {
        self.lines = None;
        let running = self.running.take().unwrap();
        tokio::time::timeout(PATIENCE, running).await.expect("the bridge goes on").unwrap();
        let mut said = Vec::new();
        while let Some(message) = self.messages.recv().await {
            said.push(serde_json::from_slice(&message).unwrap());
        }
        said
    }

    /// What the gateway was sent that satisfies `wanted`.
    pub(super) fn received(&self, wanted: impl Fn(&Received) -> bool) -> Vec<Received> {
        self.carnet.get(|state| state.received.iter().filter(|it| wanted(it)).cloned().collect())
    }

    /// The paths that were sent messages of this method, in order of arrival.
    pub(super) fn paths_of(&self, method: &str) -> Vec<Path> {
        self.received(|it| it.method() == method).iter().map(|it| it.path).collect()
    }

    /// Waits until the gateway was sent something that satisfies `wanted`.
    pub(super) async fn until(&self, wanted: impl Fn(&Received) -> bool) -> Received {
        let waiting = async {
            loop {
                if let Some(found) = self.received(&wanted).pop() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it never came")
    }
}
