//! A channel: one conversation with one upstream, for one task on one path.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use carnet_core::{Caller, Digest, OperationKind, Resource};
use serde_json::{Value, json};

use super::codec::{Id, ListKind, Message, Outcome, Revision, Verified, pin};
use super::upstream::{HttpClient, Link, Outbound, Reply, UpstreamError};
use crate::control::Credential;

/// How long what a server offers is believed before it is asked again.
const OFFER_TTL: Duration = Duration::from_secs(30);
/// The most pages of one list.
const PAGES_MAX: usize = 64;
/// The most things one server may offer of one kind.
const OFFERED_MAX: usize = 4_096;
/// What the ids of the gateway's own requests begin with. A client's may not.
pub(crate) const OWN_ID_PREFIX: &str = "carnet:";

/// One conversation with one upstream.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) link: Link,
    pub(crate) revision: Revision,
    offered: tokio::sync::Mutex<BTreeMap<&'static str, Offered>>,
    /// The server's own requests that were passed on and not yet answered.
    passed_on: Mutex<HashSet<Id>>,
}

/// What a server offers of one kind, as of a moment.
#[derive(Debug, Clone)]
struct Offered {
    pins: Arc<BTreeMap<String, Digest>>,
    at: Instant,
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
    pub(crate) async fn open(
        client: &HttpClient,
        resource: &Resource,
        caller_path: carnet_core::Path,
        credential: Option<Credential>,
        revision: Revision,
    ) -> Result<Self, UpstreamError> {
        let link = Link::open(client, resource, caller_path, credential).await?;
        Ok(Self {
            link,
            revision,
            offered: tokio::sync::Mutex::default(),
            passed_on: Mutex::default(),
        })
    }

    /// Whether what the server offers now is what the reviewer saw. A client may hold an old list;
    /// this is looked at for each call.
    pub(crate) async fn is_as_reviewed(
        &self,
        kind: OperationKind,
        item: &str,
        pinned: &Digest,
    ) -> Result<bool, UpstreamError> {
        let list = match kind {
            OperationKind::Tool => ListKind::Tools,
            OperationKind::Prompt => ListKind::Prompts,
            // Methods and the reading of resources have no definition a server could change.
            OperationKind::Resource | OperationKind::Method => return Ok(true),
        };
        let pins = self.offered(list).await?;
        Ok(pins.get(item) == Some(pinned))
    }

    /// Forgets what the server offers: it said that it changed.
    pub(crate) async fn forget_offers(&self) {
        self.offered.lock().await.clear();
    }

    async fn offered(
        &self,
        kind: ListKind,
    ) -> Result<Arc<BTreeMap<String, Digest>>, UpstreamError> {
        let mut offered = self.offered.lock().await;
        if let Some(known) = offered.get(kind.member())
            && known.at.elapsed() < OFFER_TTL
        {
            return Ok(Arc::clone(&known.pins));
        }
        let mut pins = BTreeMap::new();
        for item in self.list(kind).await? {
            let name = item.get(kind.key()).and_then(Value::as_str).unwrap_or_default();
            let digest = pin(&item).map_err(|error| UpstreamError::Answer(error.to_string()))?;
            // A name offered twice has no one definition: neither is as reviewed.
            if pins.insert(name.to_owned(), digest).is_some_and(|known| known != digest) {
                return Err(UpstreamError::Answer(format!("it offers `{name}` twice")));
            }
        }
        let pins = Arc::new(pins);
        offered.insert(kind.member(), Offered { pins: Arc::clone(&pins), at: Instant::now() });
        Ok(pins)
    }

    /// Everything the server offers of `kind`, all pages.
    pub(crate) async fn list(&self, kind: ListKind) -> Result<Vec<Value>, UpstreamError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut result = self.list_page(kind, cursor.as_deref()).await?;
            let page = result.get_mut(kind.member()).map(Value::take);
            if let Some(Value::Array(page)) = page {
                items.extend(page);
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
    ) -> Result<serde_json::Map<String, Value>, UpstreamError> {
        let method = match kind {
            ListKind::Tools => "tools/list",
            ListKind::Prompts => "prompts/list",
            ListKind::Resources => "resources/list",
            ListKind::Templates => "resources/templates/list",
        };
        let mut params = serde_json::Map::new();
        if let Some(cursor) = cursor {
            params.insert("cursor".into(), json!(cursor));
        }
        self.ask(method, params).await
    }

    /// One request of the gateway's own.
    pub(crate) async fn ask(
        &self,
        method: &'static str,
        mut params: serde_json::Map<String, Value>,
    ) -> Result<serde_json::Map<String, Value>, UpstreamError> {
        let id = format!("{OWN_ID_PREFIX}{:032x}", uuid::Uuid::now_v7().as_u128());
        if self.revision.is_stateless() {
            params.insert("_meta".into(), own_meta(self.revision));
        }
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let headers = Verified::own(self.revision, method);
        let outbound = Outbound {
            bytes: Bytes::from(body.to_string()),
            id: Id::of(&json!(id)),
            headers: &headers,
        };
        let Reply::Messages(mut messages) = self.link.send(outbound, self.revision).await? else {
            return Err(UpstreamError::Answer("it took a request without answering".into()));
        };
        while let Some(inbound) = messages.recv().await {
            let Message::Response(response) = inbound?.message else { continue };
            return match response.outcome {
                Outcome::Result(result) => Ok(result),
                Outcome::Failure(failure) => Err(UpstreamError::Answer(format!(
                    "{method}: error {}: {}",
                    failure.code, failure.message
                ))),
            };
        }
        Err(UpstreamError::Answer(format!("it did not answer {method}")))
    }

    /// One notification of the gateway's own.
    pub(crate) async fn say(&self, method: &'static str) -> Result<(), UpstreamError> {
        let body = json!({ "jsonrpc": "2.0", "method": method });
        let headers = Verified::own(self.revision, method);
        let outbound =
            Outbound { bytes: Bytes::from(body.to_string()), id: None, headers: &headers };
        self.link.send(outbound, self.revision).await.map(|_| ())
    }

    /// Remembers a request of the server's own that was passed on to the client.
    pub(crate) fn pass_on(&self, id: Id) {
        self.passed_on.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
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
