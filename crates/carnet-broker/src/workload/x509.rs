//! X.509-SVIDs: issued for as long as a workload listens, each followed by the next.
//!
//! A workload keeps its key for as long as it listens, and gets a new certificate over it: whoever
//! knows a running copy by its key knows it after a rotation too. Another stream is another key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carnet_core::{Agent, AgentName, Timestamp};
use carnet_identity::{IssuedX509, KeyUse, SigningKey, X509Bundle};
use futures::Stream;
use secrecy::ExposeSecret as _;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::broker::Broker;
use crate::clock::fresh_bits;
use crate::error::BrokerError;
use crate::workload::desk::{Desk, Watching, peer_of, status};
use crate::workload::peer::Peer;
use crate::workload::x509_messages::{
    X509BundlesRequest, X509BundlesResponse, X509SvidMessage, X509SvidRequest, X509SvidResponse,
};

/// How often a listening workload is looked at where nothing changes: a clock may jump, and a machine
/// may have slept.
const LOOK_S: u64 = 30;
/// How long to wait for an authority where there is none just now.
const AUTHORITY_WAIT: Duration = Duration::from_millis(500);

impl Broker {
    /// Issues an X.509-SVID of `agent` over the public half of `key`. That whoever gets it is the agent
    /// is for the caller to have attested. A locked agent gets none.
    pub fn issue_x509_svid(
        &self,
        agent: &AgentName,
        key: &SigningKey,
        ttl_s: i64,
    ) -> Result<IssuedX509, BrokerError> {
        let id = self.identity(agent)?;
        let issued = self.x509_authority()?.issue(key, &id, fresh_bits(), self.now().wall, ttl_s);
        issued.map_err(|error| BrokerError::Key(error.to_string()))
    }

    /// The authorities of the built-in trust domain.
    fn own_x509_bundle(&self) -> Arc<X509Bundle> {
        self.x509_bundles().get(&self.trust_domain).cloned().unwrap_or_default()
    }
}

impl Desk {
    /// SVIDs for every agent the workload is, now and again before they end, for as long as it is one.
    pub(crate) async fn fetch_x509_svids(
        self: Arc<Self>,
        request: Request<X509SvidRequest>,
    ) -> Result<Response<impl Stream<Item = Result<X509SvidResponse, Status>>>, Status> {
        let peer = peer_of(&request)?;
        self.attest(&peer).await?;
        self.warn_of_operator(&peer);
        let revisions = self.broker.revisions();
        let keys = BTreeMap::new();
        let listening = Listening { desk: self, peer, revisions, keys, told: None, is_over: false };
        Ok(Response::new(futures::stream::unfold(listening, Listening::next)))
    }

    /// The bundle, now and whenever it changes, for as long as the workload is an agent.
    pub(crate) async fn fetch_x509_bundles(
        self: Arc<Self>,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<impl Stream<Item = Result<X509BundlesResponse, Status>>>, Status> {
        Watching::start(self, request, Self::x509_bundle).await
    }

    fn x509_bundle(&self) -> X509BundlesResponse {
        let (domain, bundle) = (self.broker.trust_domain().id(), self.broker.own_x509_bundle());
        let bundles = BTreeMap::from([(domain, bundle.to_der())]);
        X509BundlesResponse { crl: Vec::new(), bundles }
    }
}

/// One workload that holds X.509-SVIDs.
struct Listening {
    desk: Arc<Desk>,
    peer: Arc<Peer>,
    revisions: watch::Receiver<u64>,
    keys: BTreeMap<AgentName, SigningKey>,
    told: Option<Told>,
    is_over: bool,
}

/// What the SVIDs sent last were made from.
struct Told {
    from: Ground,
    again_at: Timestamp,
}

/// What SVIDs are made from. Where it changes, they are made anew.
#[derive(PartialEq)]
struct Ground {
    agents: Vec<Arc<Agent>>,
    authority: String,
    bundle: Arc<X509Bundle>,
}

impl Listening {
    async fn next(mut self) -> Option<(Result<X509SvidResponse, Status>, Self)> {
        while !self.is_over {
            if self.told.is_some() && !self.wait().await {
                return None;
            }
            let agents = match self.desk.attest(&self.peer).await {
                Ok(agents) => agents,
                Err(status) => return Some(self.over(status)),
            };
            let Ok(ground) = self.ground(&agents) else {
                // One was taken away, and the next is not there yet.
                tokio::time::sleep(AUTHORITY_WAIT).await;
                if self.desk.is_stopping() {
                    return None;
                }
                continue;
            };
            let now = self.desk.broker.now().wall;
            if self.told.as_ref().is_some_and(|told| told.from == ground && now < told.again_at) {
                continue;
            }
            return match self.issue(&ground) {
                Ok(answer) => {
                    let again_at = now.plus_s((self.desk.x509_ttl_s / 2).max(1));
                    self.told = Some(Told { from: ground, again_at });
                    Some((Ok(answer), self))
                }
                Err(error) => Some(self.over(status(&error))),
            };
        }
        None
    }

    fn over(mut self, status: Status) -> (Result<X509SvidResponse, Status>, Self) {
        self.is_over = true;
        (Err(status), self)
    }

    /// Waits until there may be something to send, and tells whether there is anybody to ask.
    async fn wait(&mut self) -> bool {
        let now = self.desk.broker.now().wall;
        let again_at = self.told.as_ref().map_or(now, |told| told.again_at);
        let left_s = u64::try_from(again_at.s().saturating_sub(now.s())).unwrap_or_default();
        let look = Duration::from_secs(left_s.clamp(1, LOOK_S));
        let stop = self.desk.stop.clone();
        tokio::select! {
            () = stop.cancelled() => false,
            changed = self.revisions.changed() => changed.is_ok(),
            () = tokio::time::sleep(look) => true,
        }
    }

    fn ground(&self, agents: &[AgentName]) -> Result<Ground, BrokerError> {
        let (broker, view) = (&self.desk.broker, self.desk.broker.view());
        let agents = agents.iter().filter_map(|agent| view.snapshot.agents.get(agent)).cloned();
        Ok(Ground {
            agents: agents.collect(),
            authority: broker.x509_authority()?.kid().to_owned(),
            bundle: broker.own_x509_bundle(),
        })
    }

    fn issue(&mut self, ground: &Ground) -> Result<X509SvidResponse, BrokerError> {
        self.keys.retain(|held, _| ground.agents.iter().any(|agent| agent.name == *held));
        let bundle = ground.bundle.to_der();
        let mut svids = Vec::new();
        for agent in &ground.agents {
            let svid = self.issue_to(&agent.name, bundle.clone())?;
            tracing::info!(agent = %agent.name, uid = self.peer.uid, pid = ?self.peer.pid, "X.509 identity issued");
            svids.push(svid);
        }
        Ok(X509SvidResponse { svids, crl: Vec::new(), federated_bundles: BTreeMap::new() })
    }

    fn issue_to(
        &mut self,
        agent: &AgentName,
        bundle: Vec<u8>,
    ) -> Result<X509SvidMessage, BrokerError> {
        let problem = |error: carnet_identity::KeyError| BrokerError::Key(error.to_string());
        let key = match self.keys.get(agent) {
            Some(key) => key.clone(),
            None => SigningKey::generate(KeyUse::X509Svid).map_err(problem)?,
        };
        let issued = self.desk.broker.issue_x509_svid(agent, &key, self.desk.x509_ttl_s)?;
        let secret = key.to_pkcs8().map_err(problem)?;
        self.keys.insert(agent.clone(), key);
        Ok(X509SvidMessage {
            spiffe_id: self.desk.broker.identity(agent)?.to_string(),
            x509_svid: issued.certificate,
            x509_svid_key: secret.expose_secret().to_vec(),
            bundle,
            hint: agent.to_string(),
        })
    }
}
