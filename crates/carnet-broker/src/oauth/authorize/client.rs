//! Who asks: a client that is a registered agent, as its registration or its own document says.

use std::sync::Arc;

use carnet_core::{AgentName, Identity};
use carnet_identity::KeySet;

use super::redirect::RedirectUri;
use crate::oauth::form::Form;
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;

/// The longest `client_id`.
const ID_BYTES_MAX: usize = 512;

/// A client that may ask a person.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) agent: AgentName,
    /// What it calls itself. Nobody vouches for that.
    pub(crate) name: Option<String>,
    pub(crate) redirects: Vec<RedirectUri>,
    /// The keys it authenticates with; a public client has none.
    pub(crate) keys: Option<Arc<KeySet>>,
    /// The keys and redirect URIs it was registered with when it asked.
    pub(crate) registered: (Option<serde_json::Value>, Vec<String>),
}

impl Surface {
    /// The client that `form` names. Who is no agent's is told so, and nothing is fetched for it.
    pub(crate) async fn client(&self, form: &Form) -> Result<Client, Refusal> {
        let id = form.get("client_id").filter(|id| id.len() <= ID_BYTES_MAX);
        let id = id.ok_or(Refusal::new(
            Kind::InvalidRequest,
            "client_id_missing",
            "the request names no client in client_id",
        ))?;
        let (agent, keys, redirects) = self.registered(id).ok_or(unknown())?;
        if redirects.is_empty() {
            return self.documented(id, agent, keys).await;
        }
        let registered = (keys.clone(), redirects.clone());
        let redirects = redirects.iter().filter_map(|text| RedirectUri::parse(text)).collect();
        let keys = keys.as_ref().map(read_keys).transpose()?;
        Ok(Client { id: id.to_owned(), agent, name: None, redirects, keys, registered })
    }

    /// The agent whose client `id` is, with what was registered of it.
    pub(crate) fn registered(
        &self,
        id: &str,
    ) -> Option<(AgentName, Option<serde_json::Value>, Vec<String>)> {
        let identity =
            Identity::Client { id: id.to_owned(), keys: None, redirect_uris: Vec::new() };
        let view = self.broker.view();
        let agent = view.snapshot.agent_of(&identity)?;
        let registered = agent.identities.iter().find(|known| known.is_same(&identity))?;
        match registered {
            Identity::Client { keys, redirect_uris, .. } => {
                Some((agent.name.clone(), keys.clone(), redirect_uris.clone()))
            }
            _ => None,
        }
    }

    async fn documented(
        &self,
        id: &str,
        agent: AgentName,
        keys: Option<serde_json::Value>,
    ) -> Result<Client, Refusal> {
        let document = self.document(id).await?;
        let registered = (keys.clone(), Vec::new());
        // Keys that were registered are the operator's word, and go before the client's own.
        let keys = match keys.as_ref().map(read_keys).transpose()? {
            Some(keys) => Some(keys),
            None => document.keys.clone(),
        };
        let (name, redirects) = (document.name.clone(), document.redirects.clone());
        Ok(Client { id: id.to_owned(), agent, name, redirects, keys, registered })
    }
}

/// What is said of a client nobody registered.
pub(crate) const fn unknown() -> Refusal {
    Refusal::new(
        Kind::InvalidClient,
        "client_unknown",
        "no agent is registered with this client_id; ask who operates this Carnet",
    )
}

fn read_keys(keys: &serde_json::Value) -> Result<Arc<KeySet>, Refusal> {
    let advice = "the client's keys cannot be used; register others";
    let refused = Refusal::new(Kind::InvalidClient, "client_keys", advice);
    KeySet::from_foreign_jwks(keys.to_string().as_bytes()).map(Arc::new).map_err(|_| refused)
}
