//! What is asked of every path, and answered as one: the handshake and the lists.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use carnet_gateway::mcp::codec::{Id, ListKind, Request, Response, Revision};
use futures::future::join_all;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::cli::connect::bridge::{Bridge, Mode, lock};
use crate::cli::connect::carry::Exchange;
use crate::cli::connect::failure::Failure;
use crate::cli::connect::headers;
use crate::cli::connect::link::{Handshake, Link, Opening};
use crate::cli::connect::merge::{self, Listing};
use crate::cli::connect::raw::{Members, Writer};

/// The most pages of one path's list.
const PAGES_MAX: usize = 64;
/// What the gateway says where the server behind it did not understand.
const UPSTREAM_FAILED: &str = "upstream_failed";

impl Bridge {
    /// Opens a session on every path there is a token for.
    ///
    /// A client that asks for a revision that is not carried gets the newest that is, and a server
    /// that knows an older one only is spoken to in that, as the protocol has it.
    pub(super) async fn initialize(self: &Arc<Self>, request: &Request) -> Result<Bytes, Failure> {
        join_all(self.links.iter().map(|link| link.close())).await;
        let asked = request.params.get("protocolVersion").and_then(Value::as_str).unwrap_or("");
        let mut first = None;
        for revision in candidates(asked) {
            let handshake = Arc::new(Handshake {
                id: request.id.clone(),
                bytes: with_revision(request.bytes(), asked, revision),
                revision,
                is_ready: AtomicBool::new(false),
            });
            let opened = join_all(self.links.iter().map(|link| link.open(&handshake))).await;
            match one_handshake(&request.id, opened) {
                Ok(answer) => {
                    self.set_handshake(handshake);
                    return Ok(answer);
                }
                Err(failure) => {
                    let is_last = failure.reason != UPSTREAM_FAILED;
                    let failure = first.get_or_insert(failure).clone();
                    if is_last {
                        return Err(failure);
                    }
                }
            }
        }
        Err(first.unwrap_or_else(|| Failure::new("no_path", "no path is open: see --paths")))
    }

    /// Asks every path what it is.
    pub(super) async fn discover(
        self: &Arc<Self>,
        request: &Request,
        mode: Mode,
    ) -> Result<Bytes, Failure> {
        let headers = own_headers(mode, &request.method, &request.params);
        let (id, bytes) = (&request.id, request.bytes());
        let asking = self.links.iter().map(|link| {
            let exchange = Exchange { id, bytes, mode, headers: headers.clone() };
            async move { self.carry(link, &exchange).await }
        });
        let answers = join_all(asking).await;
        let opened = answers.into_iter().map(|answer| answer.map(Said::of));
        united(&request.id, opened)
    }

    /// One list of what every path offers.
    pub(super) async fn list(
        self: &Arc<Self>,
        kind: ListKind,
        request: &Request,
        mode: Mode,
    ) -> Result<Bytes, Failure> {
        if request.params.contains_key("cursor") {
            return Err(Failure::params("the list has one page: send no cursor"));
        }
        let listings = self.refresh(kind, request, mode).await;
        let mut lists = Vec::new();
        let mut first = None;
        for listing in listings {
            match listing {
                Ok(listing) => lists.push(listing),
                Err(failure) => drop(first.get_or_insert(failure)),
            }
        }
        match first {
            Some(failure) if lists.is_empty() => Err(failure),
            _ => Ok(merge::lists(kind, &request.id, &lists)),
        }
    }

    /// Asks every path what it offers of `kind`, and remembers it. `request` is whose behalf it is
    /// asked on: without a session, who asks is in each request.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        kind: ListKind,
        request: &Request,
        mode: Mode,
    ) -> Vec<Result<Listing, Failure>> {
        let meta = meta_of(request);
        let meta = meta.as_deref();
        let fetching = self.links.iter().map(|link| async move {
            let listing = self.fetch(link, kind, mode, meta).await;
            if let Ok(listing) = &listing {
                lock(&self.offers).learn(kind, link.path(), listing);
            }
            listing
        });
        join_all(fetching).await
    }

    async fn fetch(
        self: &Arc<Self>,
        link: &Arc<Link>,
        kind: ListKind,
        mode: Mode,
        meta: Option<&str>,
    ) -> Result<Listing, Failure> {
        let mut listing = Listing::default();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let id = Id::Text(format!("connect:{}", uuid::Uuid::new_v4().simple()));
            let bytes = list_request(kind, mode, &id, cursor.as_deref(), meta);
            let headers = own_headers(mode, method_of(kind), &Map::new());
            let exchange = Exchange { id: &id, bytes: &bytes, mode, headers };
            let response = self.carry(link, &exchange).await?;
            let result = result_of(&response).ok_or_else(|| Failure::of_response(&response))?;
            let unreadable = |error: merge::PageError| {
                Failure::new("answer_unreadable", format!("{} path: {error}", link.path()))
            };
            cursor = listing.add(kind, &result).map_err(unreadable)?;
            if cursor.is_none() {
                return Ok(listing);
            }
        }
        Err(Failure::new("answer_too_long", format!("a list has more than {PAGES_MAX} pages")))
    }
}

/// What one path said of itself: its result, or its refusal.
enum Said {
    Result(String, Bytes),
    Refusal(Response),
}

impl Said {
    fn of(response: Response) -> Self {
        match result_of(&response) {
            Some(result) => Self::Result(result, response.bytes().clone()),
            None => Self::Refusal(response),
        }
    }
}

fn one_handshake(id: &Id, opened: Vec<Result<Opening, Failure>>) -> Result<Bytes, Failure> {
    let said = opened.into_iter().map(|opening| {
        opening.map(|opening| match opening {
            Opening::Fresh(_, response) | Opening::Refused(response) => Some(Said::of(response)),
            Opening::Known(_) => None,
        })
    });
    united(id, said.filter_map(Result::transpose))
}

/// The answers of several paths as one. One alone stays as it is, byte for byte.
fn united(id: &Id, said: impl Iterator<Item = Result<Said, Failure>>) -> Result<Bytes, Failure> {
    let (mut results, mut only, mut refusal, mut first) = (Vec::new(), None, None, None);
    for said in said {
        match said {
            Ok(Said::Result(result, bytes)) => {
                results.push(result);
                only = Some(bytes);
            }
            Ok(Said::Refusal(response)) => drop(refusal.get_or_insert(response)),
            Err(failure) => drop(first.get_or_insert(failure)),
        }
    }
    let unreadable = || Failure::new("answer_unreadable", "the handshake could not be understood");
    match (results.len(), only, refusal) {
        (1, Some(only), _) => Ok(only),
        (1.., _, _) => merge::handshakes(id, &results).ok_or_else(unreadable),
        (_, _, Some(response)) => Err(Failure::of_response(&response)),
        _ => Err(first.unwrap_or_else(unreadable)),
    }
}

/// The revisions to try: what the client asks for, then what the protocol lets us answer with.
fn candidates(asked: &str) -> Vec<Revision> {
    let carried = Revision::ALL.into_iter().filter(|revision| !revision.is_stateless());
    let asked = asked.parse::<Revision>().ok().filter(|revision| !revision.is_stateless());
    carried.filter(|revision| asked.is_none_or(|asked| *revision <= asked)).collect()
}

/// The client's own words, with another version where it asked for one that is not carried.
fn with_revision(bytes: &Bytes, asked: &str, revision: Revision) -> Bytes {
    if asked == revision.as_str() {
        return bytes.clone();
    }
    let changed = || {
        let message = Members::of(std::str::from_utf8(bytes).ok()?)?;
        let params = Members::of(message.get("params")?)?;
        let params = params.with("protocolVersion", &json!(revision.as_str()).to_string());
        Some(Bytes::from(message.with("params", &params)))
    };
    changed().unwrap_or_else(|| bytes.clone())
}

const fn method_of(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Tools => "tools/list",
        ListKind::Prompts => "prompts/list",
        ListKind::Resources => "resources/list",
        ListKind::Templates => "resources/templates/list",
    }
}

fn list_request(
    kind: ListKind,
    mode: Mode,
    id: &Id,
    cursor: Option<&str>,
    meta: Option<&str>,
) -> Bytes {
    let mut params = Writer::default();
    if let Some(cursor) = cursor {
        params.member("cursor", &json!(cursor).to_string());
    }
    if let (Mode::Stateless(_), Some(meta)) = (mode, meta) {
        params.member("_meta", meta);
    }
    let mut message = Writer::default();
    message.member("jsonrpc", "\"2.0\"");
    message.member("id", &json!(id).to_string());
    message.member("method", &json!(method_of(kind)).to_string());
    message.member("params", &params.finish());
    Bytes::from(message.finish())
}

fn own_headers(mode: Mode, method: &str, params: &Map<String, Value>) -> HeaderMap {
    match mode {
        Mode::Session => HeaderMap::new(),
        Mode::Stateless(revision) => headers::stateless(revision, method, params, &[]),
    }
}

/// Who asks, as the client wrote it; without the progress token, which is the request's own.
fn meta_of(request: &Request) -> Option<String> {
    let mut meta = request.params.get("_meta")?.as_object()?.clone();
    meta.remove("progressToken");
    Some(Value::Object(meta).to_string())
}

/// The result in an answer, as it is written.
fn result_of(response: &Response) -> Option<String> {
    let text = std::str::from_utf8(response.bytes()).ok()?;
    Members::of(text)?.get("result").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_asks_for_or_the_newest_below() {
        use Revision::{V2025_06_18, V2025_11_25};
        assert_eq!(candidates("2025-11-25"), [V2025_11_25, V2025_06_18]);
        assert_eq!(candidates("2025-06-18"), [V2025_06_18]);
        for other in ["2024-11-05", "2026-07-28", "2030-01-01", ""] {
            assert_eq!(candidates(other), [V2025_11_25, V2025_06_18], "{other}");
        }
    }

    #[test]
    fn only_the_version_is_changed_and_only_where_it_must_be() {
        let bytes = Bytes::from_static(
            br#"{ "id":1, "params": {"protocolVersion":"2025-06-18", "x": 1.0} }"#,
        );
        assert_eq!(with_revision(&bytes, "2025-06-18", Revision::V2025_06_18), bytes);
        let changed = with_revision(&bytes, "2024-11-05", Revision::V2025_11_25);
        let expected = br#"{"id":1,"params":{"protocolVersion":"2025-11-25","x":1.0}}"#;
        assert_eq!(changed, expected.as_slice());
    }

    #[test]
    fn a_list_without_a_session_says_who_asks() {
        let mode = Mode::Stateless(Revision::V2026_07_28);
        let id = Id::Text("connect:1".into());
        let bytes = list_request(ListKind::Tools, mode, &id, Some("c\""), Some(r#"{"v":1}"#));
        let expected = concat!(
            r#"{"jsonrpc":"2.0","id":"connect:1","method":"tools/list","#,
            r#""params":{"cursor":"c\"","_meta":{"v":1}}}"#,
        );
        assert_eq!(bytes, expected.as_bytes());
        let plain = list_request(ListKind::Prompts, Mode::Session, &id, None, Some("{}"));
        assert!(plain.ends_with(br#""params":{}}"#));
    }
}
