//! What the gateway answered.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(response: http::Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        let problem = |error| panic!("{}: {error}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(problem)
    }

    /// The text of a tool's result.
    pub(crate) fn said(&self) -> String {
        let json = self.json();
        json["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
    }

    /// The reason of a refusal, where it is one.
    pub(crate) fn reason(&self) -> Option<String> {
        let json = self.json();
        let facts = [
            &json["result"]["_meta"]["carnet/decision"]["reason"],
            &json["error"]["data"]["reason"],
        ];
        facts.iter().find_map(|reason| reason.as_str()).map(str::to_owned)
    }

    /// The answer without what differs in every refusal: the decision's id.
    pub(crate) fn without_decision(&self) -> String {
        let json = self.json();
        let decision = json["result"]["_meta"]["carnet/decision"]["decision"].as_str().unwrap();
        self.text().replace(decision, "DECISION")
    }
}

/// An event stream, message by message.
pub(crate) struct Stream {
    body: Incoming,
    pending: String,
}

impl Stream {
    pub(crate) fn of(response: http::Response<Incoming>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), pending: String::new() }
    }

    /// The next message, or nothing at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.pending.split_once("\n\n") {
                let data: String =
                    event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                let rest = rest.to_owned();
                let message = serde_json::from_str(&data).unwrap();
                self.pending = rest;
                return Some(message);
            }
            let frame = self.body.frame().await?.ok()?;
            let data = frame.into_data().unwrap_or_default();
            self.pending.push_str(std::str::from_utf8(&data).unwrap());
        }
    }
}
