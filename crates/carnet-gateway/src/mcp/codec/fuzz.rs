//! One entry for hostile bytes: everything that reads them, and what must hold after.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::classify::classify;
use super::headers::{revision_of, verify};
use super::json::{Limits, read};
use super::list::{ListKind, filter};
use super::message::{Message, Outcome, Sender, read_message};
use super::method::Shape;
use super::mirror::mirrored;
use super::revision::Revision;
use super::sse::Events;
use super::suspicion::suspicions;

/// Reads `data` in every way there is. Panics only where an invariant does not hold.
#[doc(hidden)]
pub fn fuzz_jsonrpc(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(document) = read(bytes.clone(), &Limits::REQUEST) {
        let again: Result<Value, _> = serde_json::from_slice(document.bytes());
        assert!(again.is_ok_and(|again| again == *document.value()), "two readings of one text");
        assert_eq!(document.bytes(), &bytes, "the original bytes");
        let _ = mirrored(document.value());
        let _ = suspicions("server", document.value(), &[]);
    }
    for sender in [Sender::Client, Sender::Server] {
        if let Ok(message) = read_message(bytes.clone(), sender) {
            fuzz_message(&message, sender, data);
        }
    }
    fuzz_stream(data);
}

fn fuzz_message(message: &Message, sender: Sender, data: &[u8]) {
    let headers = fuzz_headers(data);
    for revision in Revision::ALL {
        let _ = revision_of(message, &headers, Some(revision));
        let _ = verify(revision, message, &headers, &[]);
        match message {
            Message::Request(request) => {
                let _ =
                    classify(revision, sender, Shape::Request, &request.method, &request.params);
                if let Ok(bytes) = request.bytes_without_retry() {
                    assert!(read(bytes, &Limits::REQUEST).is_ok() || sender == Sender::Server);
                }
            }
            Message::Notification(notification) => {
                let shape = Shape::Notification;
                let _ =
                    classify(revision, sender, shape, &notification.method, &notification.params);
            }
            Message::Response(response) => {
                let kinds =
                    [ListKind::Tools, ListKind::Resources, ListKind::Templates, ListKind::Prompts];
                for kind in kinds {
                    if let Ok(filtered) = filter(response, kind, revision, |_| false) {
                        assert_eq!(filtered.kept, 0, "nothing was permitted");
                        let empty = is_empty(filtered.bytes, kind);
                        assert!(empty || matches!(response.outcome, Outcome::Failure(_)));
                    }
                }
            }
        }
    }
}

fn is_empty(bytes: Bytes, kind: ListKind) -> bool {
    match read_message(bytes, Sender::Server) {
        Ok(Message::Response(response)) => match response.outcome {
            Outcome::Result(result) => {
                result.get(kind.member()).and_then(Value::as_array).is_some_and(Vec::is_empty)
            }
            Outcome::Failure(_) => false,
        },
        _ => false,
    }
}

fn fuzz_headers(data: &[u8]) -> HeaderMap {
    let names = ["mcp-protocol-version", "mcp-method", "mcp-name"];
    let mut headers = HeaderMap::new();
    for (name, piece) in names.into_iter().zip(data.chunks(data.len().div_ceil(3).max(1))) {
        if let Ok(value) = HeaderValue::from_bytes(piece) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

fn fuzz_stream(data: &[u8]) {
    let mut events = Events::new(1 << 16);
    let mut raw = Vec::new();
    for piece in data.chunks(7) {
        let Ok(complete) = events.push(piece) else { return };
        for event in complete {
            raw.extend_from_slice(event.raw());
            let _ = event.message();
        }
    }
    if let Ok(last) = events.finish() {
        raw.extend(last.iter().flat_map(|event| event.raw().iter().copied()));
        assert_eq!(raw, data, "a stream is passed on as it came");
    }
}
