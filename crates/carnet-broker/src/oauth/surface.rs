//! What the routes share.

use std::sync::{Arc, Mutex};

use carnet_core::Timestamp;
use carnet_identity::ReplayCache;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::broker::Broker;
use crate::oauth::OAuthOptions;
use crate::oauth::assertion::AssertionCache;
use crate::oauth::authorize::People;
use crate::oauth::issuer::{Issuer, IssuerError};
use crate::oauth::nonce::Nonces;
use crate::oauth::refusal::{Kind, Refusal};

/// The broker, and what the token endpoint remembers between requests.
pub(crate) struct Surface {
    pub(crate) broker: Arc<Broker>,
    pub(crate) issuer: Issuer,
    pub(crate) token_endpoint: String,
    pub(crate) delegation_endpoint: String,
    pub(crate) introspection_endpoint: String,
    pub(crate) revocation_endpoint: String,
    pub(crate) proofs: Mutex<ReplayCache>,
    pub(crate) assertions: Mutex<AssertionCache>,
    pub(crate) nonces: Option<Nonces>,
    pub(crate) mutual_tls: bool,
    pub(crate) started: Timestamp,
    pub(crate) people: People,
    turns: Semaphore,
}

impl Surface {
    /// A surface that has known nothing before `started`.
    pub(crate) fn new(
        broker: Arc<Broker>,
        options: OAuthOptions,
        started: Timestamp,
    ) -> Result<Self, IssuerError> {
        let issuer = Issuer::parse(broker.issuer())?;
        Ok(Self {
            token_endpoint: format!("{}/oauth/token", issuer.as_str()),
            delegation_endpoint: format!("{}/oauth/delegate", issuer.as_str()),
            introspection_endpoint: format!("{}/oauth/introspect", issuer.as_str()),
            revocation_endpoint: format!("{}/oauth/revoke", issuer.as_str()),
            issuer,
            proofs: Mutex::new(ReplayCache::new(options.proofs_max)),
            assertions: Mutex::new(AssertionCache::new(
                options.assertions_max,
                options.assertions_of_agent_max,
            )),
            nonces: options.dpop_nonce.then(Nonces::generate).flatten(),
            mutual_tls: options.mutual_tls,
            started,
            people: People::new(options.login),
            turns: Semaphore::new(options.requests_max),
            broker,
        })
    }

    /// A turn at the token endpoint.
    pub(crate) fn turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.turns.try_acquire().map_err(|_| {
            let advice = "too many requests at once; come again in a moment";
            Refusal::new(Kind::Unavailable, "requests_full", advice)
        })
    }
}
