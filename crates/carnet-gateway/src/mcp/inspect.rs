//! Looking at what a server offers, for the person who reviews it.

use carnet_core::{OperationKind, Path, Resource};
use serde_json::{Map, Value, json};

use super::channel::{Channel, Offer};
use super::codec::{ListKind, Revision};
use super::upstream::UpstreamError;
use crate::gateway::Gateway;

/// Why a server could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("{resource} could not be looked at: {problem}")]
pub struct InspectError {
    resource: String,
    problem: String,
}

impl Gateway {
    /// What the server behind `resource` offers, asked with the read path's credential.
    pub async fn inspect(&self, resource: &Resource) -> Result<Vec<Offer>, InspectError> {
        let failed =
            |problem: String| InspectError { resource: resource.name.to_string(), problem };
        let credential = self
            .control
            .credential(resource, Path::Read)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let mut problem = String::new();
        for revision in Revision::ALL {
            let credential = credential.clone();
            let (upstreams, path) = (&self.upstreams, Path::Read);
            let opened = Channel::open(upstreams, resource, path, credential, revision, None);
            let looked = match opened {
                Ok(channel) => {
                    let looked = look(&channel).await;
                    channel.link.close(channel.revision).await;
                    looked
                }
                Err(error) => Err(error),
            };
            match looked {
                Ok(offers) => return Ok(offers),
                Err(error) => problem = error.to_string(),
            }
        }
        Err(failed(problem))
    }
}

async fn look(channel: &Channel) -> Result<Vec<Offer>, UpstreamError> {
    let capabilities = match channel.revision.is_stateless() {
        true => channel.ask("server/discover", Map::new()).await?,
        false => initialize(channel).await?,
    };
    let offers = capabilities.get("capabilities").and_then(Value::as_object).cloned();
    let offers_of = |name: &str| offers.as_ref().is_some_and(|offers| offers.contains_key(name));
    let mut found = Vec::new();
    if offers_of("tools") {
        found.extend(listed(channel, ListKind::Tools, OperationKind::Tool).await?);
    }
    if offers_of("prompts") {
        found.extend(listed(channel, ListKind::Prompts, OperationKind::Prompt).await?);
    }
    if offers_of("resources") {
        found.push(own(OperationKind::Resource, "read", "resources/read"));
        for (item, method) in [
            ("resources.subscribe", "resources/subscribe"),
            ("resources.unsubscribe", "resources/unsubscribe"),
        ] {
            found.push(own(OperationKind::Method, item, method));
        }
    }
    if offers_of("completions") {
        found.push(own(OperationKind::Method, "completion.complete", "completion/complete"));
    }
    if offers_of("logging") {
        found.push(own(OperationKind::Method, "logging.setLevel", "logging/setLevel"));
    }
    for (item, method) in [
        ("elicitation.create", "elicitation/create"),
        ("sampling.createMessage", "sampling/createMessage"),
        ("roots.list", "roots/list"),
        ("subscriptions.listen", "subscriptions/listen"),
    ] {
        found.push(own(OperationKind::Method, item, method));
    }
    Ok(found)
}

async fn listed(
    channel: &Channel,
    list: ListKind,
    kind: OperationKind,
) -> Result<Vec<Offer>, UpstreamError> {
    let items = channel.list(list).await?;
    let named = items.into_iter().filter_map(|definition| {
        let name = definition.get(list.key())?.as_str()?.to_owned();
        Some(Offer { kind, name, definition })
    });
    Ok(named.collect())
}

/// A method of the protocol, which has no definition of the server's: its pin is its name.
fn own(kind: OperationKind, item: &str, method: &str) -> Offer {
    Offer { kind, name: item.to_owned(), definition: json!({ "method": method }) }
}

async fn initialize(channel: &Channel) -> Result<Map<String, Value>, UpstreamError> {
    let mut params = Map::new();
    params.insert("protocolVersion".into(), json!(channel.revision.as_str()));
    params.insert("capabilities".into(), json!({}));
    let client = json!({ "name": "carnet", "version": env!("CARGO_PKG_VERSION") });
    params.insert("clientInfo".into(), client);
    let answered = channel.ask("initialize", params).await?;
    let version = answered.get("protocolVersion").and_then(Value::as_str);
    if version != Some(channel.revision.as_str()) {
        let problem = format!("it speaks {}", version.unwrap_or("no revision"));
        return Err(UpstreamError::Answer(problem));
    }
    channel.say("notifications/initialized").await?;
    Ok(answered)
}
