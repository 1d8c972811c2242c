//! Tokens for federation targets. Each is an operation like any other: decided, recorded, reserved
//! where something is counted, checked again at the door, and settled. What leaves is a lease.

use bytes::Bytes;
use carnet_core::{
    AgentName, ApprovalId, Arguments, Attempt, Caller, Decided, DecisionId, Digest,
    FederationTarget, Lease, LeaseId, LeaseState, Operation, Path, Permit, Reason, Refused,
    Registered, ResourceName, TaskId, Transport, View, check_caller, decide, is_role,
    is_session_name,
};
use carnet_identity::{FederationClaims, SigningKey, Thumbprint, mint_federation};
use carnet_ledger::{decision_entry, decision_subject, fault_point};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::federation_claims::Occasion;
use super::intended::arguments_of;
use super::token::{TokenRequest, check_agent, check_task};
use super::turned_down;
use super::{AskUse, DETAILS_TYPE};
use crate::broker::Broker;
use crate::clock::fresh_bits;
use crate::error::BrokerError;
use crate::federation;
use crate::keys::KeyPurpose;

/// A request for a federation token by an agent that has proved who it is.
#[derive(Debug, Clone)]
pub struct FederationRequest {
    /// The agent.
    pub agent: AgentName,
    /// The key it proved to hold, where it offered one.
    pub thumbprint: Option<Thumbprint>,
    /// The task, or none for the agent's standing task.
    pub task: Option<TaskId>,
    /// The target.
    pub resource: ResourceName,
    /// The path.
    pub path: Path,
    /// The role it is to be good for.
    pub role: Option<String>,
    /// The name of the session it is to open.
    pub session_name: Option<String>,
}

/// A federation token and what is known of it.
#[derive(Debug, Clone)]
pub struct FederationToken {
    /// The token itself. It is shown to its agent and never logged.
    pub token: SecretString,
    /// Its lifetime in seconds.
    pub ttl_s: i64,
    /// The task it is for.
    pub task: TaskId,
    /// Its lease.
    pub lease: LeaseId,
    /// What was granted, in full.
    pub details: Value,
}

/// What came of a request that was understood.
#[derive(Debug, Clone)]
pub enum Federated {
    /// The token.
    Issued(FederationToken),
    /// A person must say yes first. It is asked for again, and decided again.
    Asked(ApprovalId),
}

/// What is to be decided.
struct Prepared {
    attempt: Attempt,
    caller: Caller,
    lease: Lease,
    key: SigningKey,
}

impl Broker {
    /// Issues a federation token, or asks a person, or refuses. All three are recorded.
    pub async fn federate(&self, request: FederationRequest) -> Result<Federated, BrokerError> {
        let prepared = match self.prepare(&request).await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.record_unprepared(&request, &error);
                return Err(error);
            }
        };
        let Prepared { attempt, caller, lease, key } = prepared;
        let view = self.view();
        match decide(&view.snapshot, &*view.policy, attempt, caller, self.now()) {
            Decided::Permit(permit) => {
                self.hand_out(permit, lease, &key).await.map(Federated::Issued)
            }
            Decided::Ask(refused) => {
                self.record_decided(&view, &lease.decision, &refused);
                self.ask(question(lease.decision, refused)?).await.map(Federated::Asked)
            }
            Decided::Deny(refused) => {
                self.record_decided(&view, &lease.decision, &refused);
                let reason = refused.decision.reasons.first().copied();
                let detail = format!("{} of {}", refused.operation.action(), lease.task);
                Err(BrokerError::refused(reason.unwrap_or(Reason::NotCovered), detail))
            }
        }
    }

    /// Brings a request as far as it can be decided.
    async fn prepare(&self, request: &FederationRequest) -> Result<Prepared, BrokerError> {
        let view = self.view();
        let agent = view.snapshot.agents.get(&request.agent).ok_or_else(|| {
            BrokerError::refused(Reason::AgentUnknown, format!("{} is unknown", request.agent))
        })?;
        check_agent(&view.snapshot, agent)?;
        if request.thumbprint.is_none() {
            let detail = "what leaves for another place is given to a proved key only";
            return Err(BrokerError::refused(Reason::ProofRequired, detail));
        }
        let instance = self.ensure_instance(&request.agent, request.thumbprint.as_ref()).await?;
        let task = match &request.task {
            Some(task) => task.clone(),
            None => self.standing_task(agent, None).await?,
        };
        let (view, now) = (self.view(), self.now());
        let asked = TokenRequest {
            agent: request.agent.clone(),
            thumbprint: request.thumbprint,
            certificate: None,
            task: Some(task.clone()),
            subject: None,
            resource: request.resource.clone(),
            path: request.path,
        };
        let deadline = check_task(&view, &asked, &task, &instance, now)?;
        let target = target_of(&view, request)?;
        let operation = operation(&target.1, request)?;
        let key = self.signing_key(KeyPurpose::Federation)?;
        let id = LeaseId::from_bits(fresh_bits());
        let occasion = Occasion { request, view: &view, task: &task, target: &target.0 };
        let claims = self.federation_claims(&occasion, id.clone(), deadline, now.wall)?;
        let lease = Lease {
            id: id.clone(),
            task: task.clone(),
            agent: request.agent.clone(),
            resource: request.resource.clone(),
            path: request.path,
            decision: DecisionId::from_bits(fresh_bits()),
            role: request.role.clone(),
            intended_at: now.wall,
            expires: claims.exp.plus_s(i64::from(target.0.session_s)),
            state: LeaseState::Intended,
        };
        let caller = Caller {
            agent: request.agent.clone(),
            instance,
            task,
            path: request.path,
            resource: request.resource.clone(),
            token: id.to_string(),
            key: key.kid().to_owned(),
            expires: claims.exp,
            thumbprint: request.thumbprint.as_ref().map(ToString::to_string),
        };
        let original = serde_json::to_vec(&claims).map(Bytes::from).map_err(unwritable)?;
        Ok(Prepared { attempt: Attempt { operation, original }, caller, lease, key })
    }

    /// Records a permit and its lease, checks again, signs what was decided on, and lets it out only
    /// once the lease is active, durably.
    async fn hand_out(
        &self,
        permit: Permit,
        lease: Lease,
        key: &SigningKey,
    ) -> Result<FederationToken, BrokerError> {
        let intended = self.intend(&permit, lease).await?;
        fault_point("lease.intended");
        let signed = self.sign_permitted(permit, key);
        let confirmed = match signed {
            Ok(signed) => self.confirm_lease(&intended).await.map(|()| signed),
            Err(error) => Err(error),
        };
        let (token, claims) = match confirmed {
            Ok(signed) => signed,
            Err(error) => {
                self.withdraw_lease(&intended).await;
                return Err(error);
            }
        };
        fault_point("lease.active");
        // What was revoked meanwhile does not leave. Its lease is listed until its time is over.
        let (view, now) = (self.view(), self.now());
        check_caller(&view.snapshot, &intended.caller, now).map_err(|reason| {
            BrokerError::refused(reason, "it was revoked before the token left")
        })?;
        let lease = intended.lease;
        Ok(FederationToken {
            token,
            ttl_s: claims.exp.s() - now.wall.s(),
            details: json!([{
                "type": DETAILS_TYPE, "task": lease.task, "path": lease.path,
                "locations": [self.federation_address(lease.path, &lease.resource)],
            }]),
            task: lease.task,
            lease: lease.id,
        })
    }

    /// Checks a recorded permit again at the door, and signs its bytes.
    fn sign_permitted(
        &self,
        permit: Permit,
        key: &SigningKey,
    ) -> Result<(SecretString, FederationClaims), BrokerError> {
        let view = self.view();
        permit
            .recheck(&view.snapshot, self.now())
            .map_err(|reason| BrokerError::refused(reason, "it does not hold any more"))?;
        let claims: FederationClaims =
            serde_json::from_slice(&permit.into_original()).map_err(unwritable)?;
        let token =
            mint_federation(key, &claims).map_err(|error| BrokerError::Key(error.to_string()))?;
        Ok((token.into(), claims))
    }

    /// Records a decision that permits nothing: one a second of an agent that asks on and on.
    fn record_decided(&self, view: &View, id: &DecisionId, refused: &Refused) {
        let Refused { operation, caller, decision } = refused;
        let Some(count) = self.turned_down.due(&caller.agent, self.now().mono) else { return };
        let subject = decision_subject(&view.snapshot, caller);
        let arguments = arguments_of(operation);
        let mut entry = decision_entry(id, operation, caller, decision, arguments, subject);
        entry.header.insert("count".into(), json!(count));
        self.write_behind(&entry);
    }

    fn record_unprepared(&self, request: &FederationRequest, error: &BrokerError) {
        let BrokerError::Refused { reason, .. } = error else { return };
        let mut header = Map::new();
        header.insert("path".into(), json!(request.path));
        header.insert("resource".into(), json!(request.resource));
        header.insert("task".into(), json!(request.task));
        let (agent, reason, event) = (&request.agent, *reason, "federation_refused");
        self.record_turned_down(turned_down::Refused { agent, event, reason, header });
    }
}

/// The target and the reviewed operation of a request. What is none, what is not reviewed and what
/// was reviewed otherwise are told alike.
fn target_of(
    view: &View,
    request: &FederationRequest,
) -> Result<(FederationTarget, Registered), BrokerError> {
    let none = || {
        let detail = format!("nothing of {} is reviewed on that path", request.resource);
        BrokerError::refused(Reason::NotCovered, detail)
    };
    let resource = view.snapshot.resource(&request.resource).ok_or_else(none)?;
    let Transport::Federation(target) = &resource.upstream.transport else { return Err(none()) };
    let action = federation::action(&resource.name, request.path).map_err(|_| none())?;
    let registered = resource.registered(&action).ok_or_else(none)?;
    match registered.pin == Digest::of_json(&target.definition(request.path))? {
        true => Ok((target.clone(), registered.clone())),
        false => Err(none()),
    }
}

/// The operation, from arguments that are what they say.
fn operation(
    registered: &Registered,
    request: &FederationRequest,
) -> Result<Operation, BrokerError> {
    let unfit = |detail: &str| BrokerError::refused(Reason::ArgumentsInvalid, detail);
    if !request.role.as_deref().is_none_or(is_role) {
        return Err(unfit("`role` is not 1 to 256 of A-Z, a-z, 0-9 and _.:/=+-@"));
    }
    if !request.session_name.as_deref().is_none_or(is_session_name) {
        return Err(unfit("`session_name` is not 2 to 64 of A-Z, a-z, 0-9 and _=+.@-"));
    }
    let given = [("role", &request.role), ("session_name", &request.session_name)];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let given: Map<String, Value> =
        given.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let arguments = Arguments::try_from(given).map_err(|error| unfit(&error.to_string()))?;
    Operation::new(request.resource.clone(), registered, arguments)
        .map_err(|error| unfit(&error.to_string()))
}

/// The question an answer of *ask* puts.
fn question(decision: DecisionId, refused: Refused) -> Result<AskUse, BrokerError> {
    let Refused { operation, caller, decision: said } = refused;
    let missing = || BrokerError::refused(Reason::ApprovalNeeded, "nobody is named to be asked");
    Ok(AskUse {
        decision,
        task: caller.task,
        instance: caller.instance,
        agent: caller.agent,
        operation,
        terms: said.terms.ok_or_else(missing)?,
        policy: said.policy,
        draws_on: said.cover.map(|cover| cover.grant),
    })
}

fn unwritable(error: serde_json::Error) -> BrokerError {
    BrokerError::Key(format!("a token could not be written: {error}"))
}
