//! What a federation token says, from what was decided on.

use carnet_core::{FederationTarget, LeaseId, Principal, Reason, TaskId, Timestamp, View};
use carnet_identity::{AwsTags, FederationClaims, SpiffeId};

use super::federate::FederationRequest;
use super::token::{act_of, unknown};
use crate::broker::Broker;
use crate::error::BrokerError;

/// The tag that stays over every role a session takes on.
const TRANSITIVE_TAG: &str = "task";

/// What a token is issued on.
pub(super) struct Occasion<'a> {
    pub(super) request: &'a FederationRequest,
    pub(super) view: &'a View,
    pub(super) task: &'a TaskId,
    pub(super) target: &'a FederationTarget,
}

impl Broker {
    /// The claims. The token is dead when its target, its path or its task says so, whichever is first.
    pub(super) fn federation_claims(
        &self,
        occasion: &Occasion<'_>,
        id: LeaseId,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Result<FederationClaims, BrokerError> {
        let Occasion { request, view, task, target } = occasion;
        let held = view.snapshot.task(task).ok_or_else(|| unknown(task))?;
        let spiffe = |agent| SpiffeId::agent(&self.trust_domain, agent).to_string();
        let on_behalf = match &held.task.subject {
            Principal::Agent(agent) => spiffe(agent),
            user @ Principal::User(_) => user.to_string(),
        };
        let actors = view.snapshot.actors(task).map_err(|_| unknown(task))?;
        let act = act_of(&on_behalf, actors.into_iter().map(spiffe));
        let own = spiffe(&request.agent);
        let exp = (now.s() + target.ttl_s(request.path)).min(deadline.s());
        if exp <= now.s() {
            let detail = format!("{task} is over within a second");
            return Err(BrokerError::refused(Reason::TaskExpired, detail));
        }
        Ok(FederationClaims {
            iss: self.issuer.clone(),
            sub: if target.subject_per_path { format!("{own}/{}", request.path) } else { own },
            aud: target.audience.clone(),
            iat: Timestamp::from_s(now.s()),
            nbf: Timestamp::from_s(now.s()),
            exp: Timestamp::from_s(exp),
            jti: id.to_string(),
            act,
            carnet_task: (*task).clone(),
            carnet_purpose: held.task.purpose.clone(),
            carnet_path: request.path,
            carnet_resource: request.resource.clone(),
            carnet_subject: on_behalf,
            carnet_role: request.role.clone(),
            carnet_session_name: request.session_name.clone(),
            aws_tags: target.aws_tags.then(|| tags(request, task)),
            // An id of ours is always what AWS takes there; it is what a task is closed by.
            aws_source_identity: target.aws_tags.then(|| task.to_string()),
        })
    }
}

/// Session tags: what a role's trust and its policies can compare.
fn tags(request: &FederationRequest, task: &TaskId) -> AwsTags {
    let mut tags = vec![
        ("agent", request.agent.to_string()),
        ("path", request.path.to_string()),
        (TRANSITIVE_TAG, task.to_string()),
    ];
    tags.extend(request.role.clone().map(|role| ("role", role)));
    tags.extend(request.session_name.clone().map(|name| ("session", name)));
    let tags = tags.into_iter().map(|(name, value)| (name.to_owned(), [value]));
    AwsTags { principal_tags: tags.collect(), transitive_tag_keys: vec![TRANSITIVE_TAG.to_owned()] }
}
