//! What the Workload API answers, and to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carnet_core::AgentName;
use carnet_identity::{SpiffeId, Svid, verify_svid};
use futures::Stream;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::lineage::descends_from_us;
use crate::workload::WorkloadOptions;
use crate::workload::messages::{
    JwtBundlesRequest, JwtBundlesResponse, JwtSvid, JwtSvidRequest, JwtSvidResponse, Struct,
    ValidateJwtSvidRequest, ValidateJwtSvidResponse, Value,
};
use crate::workload::peer::Peer;

/// The most identities one answer holds.
const IDENTITIES_MAX: usize = 32;
/// How often a bundle should be looked at again.
const REFRESH_HINT_S: u64 = 300;

/// Answers workloads from the broker's view.
pub(crate) struct Desk {
    pub(super) broker: Arc<Broker>,
    operator_uids: BTreeSet<u32>,
    same_user: bool,
    audiences: BTreeSet<String>,
    started_s: u64,
    pub(super) x509_ttl_s: i64,
    pub(super) stop: CancellationToken,
}

impl Desk {
    /// A desk that refuses those `options` names as operators, and Carnet's own uid: whoever runs
    /// under that can read the keys.
    pub(crate) fn new(
        broker: Arc<Broker>,
        options: WorkloadOptions,
        stop: CancellationToken,
    ) -> Self {
        let mut operator_uids = options.operator_uids;
        operator_uids.insert(rustix::process::geteuid().as_raw());
        let mut audiences = options.other_audiences;
        audiences.insert(broker.issuer().to_owned());
        let started_s = u64::try_from(broker.now().wall.s()).unwrap_or_default();
        let (same_user, x509_ttl_s) = (options.same_user, options.x509_ttl_s);
        Self { broker, operator_uids, same_user, audiences, started_s, x509_ttl_s, stop }
    }

    /// SVIDs for every agent the workload is, or the one asked for.
    pub(crate) async fn fetch_svids(
        &self,
        request: Request<JwtSvidRequest>,
    ) -> Result<Response<JwtSvidResponse>, Status> {
        let peer = peer_of(&request)?;
        let agents = self.attest(&peer).await?;
        let JwtSvidRequest { audience, spiffe_id } = request.into_inner();
        let audience = match audience.as_slice() {
            [one] if self.audiences.contains(one) => one,
            [_] => return Err(Status::permission_denied("no identity issued for this audience")),
            _ => return Err(Status::invalid_argument("name exactly one audience")),
        };
        self.warn_of_operator(&peer);
        let mut svids = Vec::new();
        for agent in agents {
            let id = SpiffeId::agent(self.broker.trust_domain(), &agent).to_string();
            if !spiffe_id.is_empty() && spiffe_id != id {
                continue;
            }
            let svid = self.broker.mint_svid(&agent, audience).map_err(|error| status(&error))?;
            tracing::info!(%agent, uid = peer.uid, pid = ?peer.pid, "identity issued");
            let svid = svid.expose_secret().to_owned();
            svids.push(JwtSvid { spiffe_id: id, svid, hint: agent.to_string() });
        }
        match svids.is_empty() {
            true => Err(no_identity()),
            false => Ok(Response::new(JwtSvidResponse { svids })),
        }
    }

    /// The bundle, now and whenever it changes, for as long as the workload is an agent.
    pub(crate) async fn fetch_bundles(
        self: Arc<Self>,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<impl Stream<Item = Result<JwtBundlesResponse, Status>>>, Status> {
        Watching::start(self, request, Self::bundle).await
    }

    /// Checks an SVID of the built-in trust domain.
    pub(crate) async fn validate(
        &self,
        request: Request<ValidateJwtSvidRequest>,
    ) -> Result<Response<ValidateJwtSvidResponse>, Status> {
        let peer = peer_of(&request)?;
        self.attest(&peer).await?;
        let ValidateJwtSvidRequest { audience, svid } = request.into_inner();
        let (keys, now) = (self.broker.svid_keys(), self.broker.now().wall);
        let svid = verify_svid(&svid, &keys, self.broker.trust_domain(), &audience, now)
            .map_err(|error| Status::invalid_argument(error.code()))?;
        let claims = Some(claims_of(&svid, audience));
        Ok(Response::new(ValidateJwtSvidResponse { spiffe_id: svid.id.to_string(), claims }))
    }

    /// The agents the workload is. What it could have been is not told.
    pub(super) async fn attest(&self, peer: &Peer) -> Result<Vec<AgentName>, Status> {
        let view = self.broker.view();
        if !view.snapshot.is_fresh(self.broker.now()) {
            return Err(Status::unavailable("this node's view is stale; ask again in a moment"));
        }
        if self.operator_uids.contains(&peer.uid) && !self.same_user {
            tracing::warn!(
                uid = peer.uid,
                "an operator's uid asked for an agent's identity and was refused: run the agent as another user"
            );
            return Err(no_identity());
        }
        if peer.pid.and_then(descends_from_us) == Some(true) {
            tracing::warn!(pid = ?peer.pid, "a process Carnet started asked for an agent's identity and was refused");
            return Err(no_identity());
        }
        let mut agents = Vec::new();
        for agent in view.snapshot.agents.values() {
            let is_full = agents.len() >= IDENTITIES_MAX;
            if !is_full && !self.broker.is_agent_locked(&agent.name) && peer.is(agent).await {
                agents.push(agent.name.clone());
            }
        }
        if agents.is_empty() {
            tracing::info!(uid = peer.uid, pid = ?peer.pid, "a workload matches no agent");
            return Err(no_identity());
        }
        Ok(agents)
    }

    pub(super) fn warn_of_operator(&self, peer: &Peer) {
        if self.operator_uids.contains(&peer.uid) {
            tracing::warn!(
                uid = peer.uid,
                "an agent runs as an operator: who is one can be the other"
            );
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    fn bundle(&self) -> JwtBundlesResponse {
        // A start is later than the one before, by more than the keys changed in between.
        let sequence = self.started_s + self.broker.keys_changed();
        let bundle = self.broker.svid_keys().spiffe_bundle(sequence, REFRESH_HINT_S);
        let domain = self.broker.trust_domain().id();
        let mut bundles = BTreeMap::from([(domain, bundle.to_string().into_bytes())]);
        let (trust, now) = (self.broker.trust.load(), self.broker.now().mono);
        for (domain, held) in trust.domains(now) {
            let bundle = held.keys.spiffe_bundle(held.sequence, REFRESH_HINT_S);
            bundles.insert(domain.id(), bundle.to_string().into_bytes());
        }
        JwtBundlesResponse { bundles }
    }
}

/// One workload waiting for a bundle to change.
pub(super) struct Watching<Answer> {
    desk: Arc<Desk>,
    peer: Arc<Peer>,
    bundle: fn(&Desk) -> Answer,
    revisions: watch::Receiver<u64>,
    trusted: watch::Receiver<u64>,
    sent: Option<Answer>,
    is_over: bool,
}

impl<Answer: Clone + PartialEq> Watching<Answer> {
    /// The bundle, now and whenever it changes, for as long as the workload is an agent.
    pub(super) async fn start<Question>(
        desk: Arc<Desk>,
        request: Request<Question>,
        bundle: fn(&Desk) -> Answer,
    ) -> Result<Response<impl Stream<Item = Result<Answer, Status>>>, Status> {
        let peer = peer_of(&request)?;
        desk.attest(&peer).await?;
        let revisions = desk.broker.revisions();
        let trusted = desk.broker.trust.load().changes.subscribe();
        let watching = Self { desk, peer, bundle, revisions, trusted, sent: None, is_over: false };
        Ok(Response::new(futures::stream::unfold(watching, Self::next)))
    }

    async fn next(mut self) -> Option<(Result<Answer, Status>, Self)> {
        while !self.is_over {
            if self.sent.is_some() {
                let stop = self.desk.stop.clone();
                tokio::select! {
                    () = stop.cancelled() => return None,
                    changed = self.revisions.changed() => changed.ok()?,
                    changed = self.trusted.changed() => changed.ok()?,
                }
                if let Err(status) = self.desk.attest(&self.peer).await {
                    self.is_over = true;
                    return Some((Err(status), self));
                }
            }
            let bundle = (self.bundle)(&self.desk);
            if self.sent.as_ref() != Some(&bundle) {
                self.sent = Some(bundle.clone());
                return Some((Ok(bundle), self));
            }
        }
        None
    }
}

pub(super) fn peer_of<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    request.extensions().get::<Arc<Peer>>().cloned().ok_or_else(no_identity)
}

fn no_identity() -> Status {
    Status::permission_denied("no identity issued")
}

pub(super) fn status(error: &BrokerError) -> Status {
    match error {
        BrokerError::Refused { reason: carnet_core::Reason::SnapshotStale, .. } => {
            Status::unavailable("this node's view is stale; ask again in a moment")
        }
        BrokerError::Refused { .. } => no_identity(),
        _ => {
            tracing::error!(%error, "an identity could not be minted");
            Status::internal(
                "the identity could not be minted; the operator can see why in the log",
            )
        }
    }
}

fn claims_of(svid: &Svid, audience: String) -> Struct {
    let mut fields = BTreeMap::from([
        ("sub".to_owned(), Value::text(svid.id.as_str())),
        ("aud".to_owned(), Value::list_of(Value::text(audience))),
        ("exp".to_owned(), Value::number(svid.expires.s())),
    ]);
    if let Some(issued) = svid.issued {
        fields.insert("iat".to_owned(), Value::number(issued.s()));
    }
    Struct { fields }
}
