//! A channel: one conversation with one upstream, for one task on one path.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use carnet_core::{AgentName, Caller, OperationKind, Resource};
use serde_json::{Map, Value, json};

use super::awaited::Awaited;
use super::codec::{Id, ListKind, Message, Outcome, Request, Revision, Verified};
use super::offers::Offers;
use super::upstream::{Link, Messages, Outbound, Reply, UpstreamError, Upstreams, declined};
use crate::control::Credential;

/// The most pages of one list.
const PAGES_MAX: usize = 64;
/// The longest list, all its pages together.
const LISTED_BYTES_MAX: usize = 16 << 20;
/// The most things one server may offer of one kind.
const OFFERED_MAX: usize = 4_096;
/// The most requests of a server that may wait for its client at once.
const PASSED_ON_MAX: usize = 256;
/// How many requests of its own a server is refused before it is spoken with no more.
const REFUSED_MAX: u32 = 256;
/// How long a server may take for a request of the gateway's own.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may take to hear that its request goes to nobody.
const DECLINE_TIMEOUT: Duration = Duration::from_secs(5);
/// What the ids of the gateway's own requests begin with. A client's may not.
pub(crate) const OWN_ID_PREFIX: &str = "carnet:";

/// One conversation with one upstream.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) link: Link,
    pub(crate) revision: Revision,
    pub(super) offers: Offers,
    pub(super) awaited: Awaited,
    /// The server's own requests that were passed on and not yet answered.
    passed_on: Mutex<HashSet<Id>>,
    /// How many were refused.
    refused: AtomicU32,
}

/// One thing a server offers, for review.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What it is.
    pub kind: OperationKind,
    /// Its name.
    pub name: String,
    /// The whole definition.
    pub definition: Value,
}

impl Channel {
    pub(crate) fn open(
        upstreams: &Upstreams,
        resource: &Resource,
        path: carnet_core::Path,
        credential: Option<Credential>,
        revision: Revision,
        agent: Option<&AgentName>,
    ) -> Result<Self, UpstreamError> {
        let link = Link::open(upstreams, resource, path, credential, agent)?;
        let (offers, awaited) = (Offers::default(), Awaited::default());
        Ok(Self {
            link,
            revision,
            offers,
            awaited,
            passed_on: Mutex::default(),
            refused: AtomicU32::new(0),
        })
    }

    /// Everything the server offers of `kind`, all pages.
    pub(crate) async fn list(&self, kind: ListKind) -> Result<Vec<Value>, UpstreamError> {
        let mut items = Vec::new();
        let mut bytes = 0_usize;
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut result = self.list_page(kind, cursor.as_deref()).await?;
            let page = result.get_mut(kind.member()).map(Value::take);
            let read = page.as_ref().map_or(0, |page| page.to_string().len());
            if let Some(Value::Array(page)) = page {
                items.extend(page);
            }
            bytes = bytes.saturating_add(read);
            if bytes > LISTED_BYTES_MAX {
                let problem = format!("its list is longer than {LISTED_BYTES_MAX} bytes");
                return Err(UpstreamError::Answer(problem));
            }
            if items.len() > OFFERED_MAX {
                return Err(UpstreamError::Answer(format!("it offers more than {OFFERED_MAX}")));
            }
            cursor = result.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                return Ok(items);
            }
        }
        Err(UpstreamError::Answer(format!("its list has more than {PAGES_MAX} pages")))
    }

    async fn list_page(
        &self,
        kind: ListKind,
        cursor: Option<&str>,
    ) -> Result<Map<String, Value>, UpstreamError> {
        let method = match kind {
            ListKind::Tools => "tools/list",
            ListKind::Prompts => "prompts/list",
            ListKind::Resources => "resources/list",
            ListKind::Templates => "resources/templates/list",
        };
        let mut params = Map::new();
        if let Some(cursor) = cursor {
            params.insert("cursor".into(), json!(cursor));
        }
        self.ask(method, params).await
    }

    /// One request of the gateway's own.
    pub(crate) async fn ask(
        &self,
        method: &'static str,
        mut params: Map<String, Value>,
    ) -> Result<Map<String, Value>, UpstreamError> {
        let text = format!("{OWN_ID_PREFIX}{:032x}", uuid::Uuid::now_v7().as_u128());
        if self.revision.is_stateless() {
            params.insert("_meta".into(), own_meta(self.revision));
        }
        let body = json!({ "jsonrpc": "2.0", "id": text, "method": method, "params": params });
        let headers = Verified::own(self.revision, method);
        let id = Id::Text(text);
        let outbound = Outbound {
            bytes: Bytes::from(body.to_string()),
            id: Some(id.clone()),
            headers: &headers,
            opens: method == "initialize",
        };
        let asked = async {
            match self.link.send(outbound, self.revision).await? {
                Reply::Messages(messages) => self.answer_to(&id, messages).await,
                Reply::Accepted => Err(UpstreamError::Answer("it answered nothing".into())),
            }
        };
        let silent =
            |_| UpstreamError::Broken(format!("{method} took longer than {ASK_TIMEOUT:?}"));
        let answered = tokio::time::timeout(ASK_TIMEOUT, asked).await.map_err(silent)??;
        match answered {
            Outcome::Result(result) => Ok(result),
            Outcome::Failure(failure) => {
                let said: String =
                    failure.message.chars().take(200).flat_map(char::escape_debug).collect();
                Err(UpstreamError::Answer(format!("{method}: error {}: {said}", failure.code)))
            }
        }
    }

    async fn answer_to(&self, id: &Id, mut messages: Messages) -> Result<Outcome, UpstreamError> {
        while let Some(inbound) = messages.recv().await {
            match inbound?.message {
                Message::Response(response) if response.id.as_ref().is_none_or(|is| is == id) => {
                    return Ok(response.outcome);
                }
                Message::Request(request) => self.decline(&request).await,
                Message::Response(_) | Message::Notification(_) => {}
            }
        }
        Err(UpstreamError::Answer("it did not answer".into()))
    }

    /// Tells the server that its request goes to nobody.
    pub(crate) async fn decline(&self, request: &Request) {
        if self.revision.is_stateless() {
            return;
        }
        let own = Verified::own(self.revision, "");
        let outbound = Outbound { bytes: declined(request), id: None, headers: &own, opens: false };
        let sent = self.link.send(outbound, self.revision);
        if !matches!(tokio::time::timeout(DECLINE_TIMEOUT, sent).await, Ok(Ok(_))) {
            tracing::debug!("the server did not take the refusal of its request");
        }
    }

    /// One notification of the gateway's own.
    pub(crate) async fn say(&self, method: &'static str) -> Result<(), UpstreamError> {
        let body = json!({ "jsonrpc": "2.0", "method": method });
        let headers = Verified::own(self.revision, method);
        let bytes = Bytes::from(body.to_string());
        let outbound = Outbound { bytes, id: None, headers: &headers, opens: false };
        self.link.send(outbound, self.revision).await.map(|_| ())
    }

    /// Whether one more refusal is told and recorded. A server that asks on and on what it may not
    /// is cut off: each refusal is a record.
    pub(crate) fn may_be_refused(&self) -> bool {
        let is_left = self.refused.fetch_add(1, Ordering::Relaxed) < REFUSED_MAX;
        if !is_left {
            tracing::warn!("the server asks on and on what it may not: it is cut off");
            self.link.cut();
        }
        is_left
    }

    /// Remembers a request of the server's own that goes on to the client, where there is room.
    pub(crate) fn pass_on(&self, id: Id) -> bool {
        let mut passed_on = self.passed_on.lock().unwrap_or_else(PoisonError::into_inner);
        passed_on.len() < PASSED_ON_MAX && passed_on.insert(id)
    }

    /// Whether the client's answer is to something that was passed on. True once for each.
    pub(crate) fn was_passed_on(&self, id: &Id) -> bool {
        self.passed_on.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }
}

fn own_meta(revision: Revision) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": revision.as_str(),
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "carnet", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// Whether a caller's session may be used by `other`: it is bound to who opened it.
pub(crate) fn is_same_caller(caller: &Caller, other: &Caller) -> bool {
    caller.agent == other.agent
        && caller.instance == other.instance
        && caller.task == other.task
        && caller.path == other.path
        && caller.resource == other.resource
}
