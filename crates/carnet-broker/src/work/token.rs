//! Tokens: one task, one audience, one path, bound to the instance's key. Identity alone grants
//! nothing: a token is issued for a task that is live, or opened from a standing intent.

use carnet_core::{
    Agent, AgentName, Caller, Digest, Instance, InstanceId, LockTarget, Now, Owner, Path,
    Principal, Reason, ResourceName, Snapshot, Task, TaskId, Timestamp, Transport, UserName, View,
    check_caller, reachable,
};
use carnet_identity::{AccessClaims, Act, Confirmation, SpiffeId, Thumbprint, mint_access};
use carnet_store::{Key, Kind};
use serde_json::{Map, json};

use crate::broker::Broker;
use crate::clock::fresh_bits;
use crate::error::BrokerError;
use crate::item::Item;
use crate::keys::KeyPurpose;
use crate::work::turned_down::Refused;

/// The most running copies of one agent that are known at once. The one seen first is forgotten for
/// the next: should it still run, its next token makes it known again.
const INSTANCES_MAX: usize = 256;

/// The type of our authorization details (RFC 9396).
pub const DETAILS_TYPE: &str = "carnet_task";

/// A request for a token by an agent that has proved who it is.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// The agent.
    pub agent: AgentName,
    /// The key it proved to hold, where it offered one.
    pub thumbprint: Option<Thumbprint>,
    /// The client certificate that proved it, where it was not a proof: the token is bound to that.
    pub certificate: Option<BoundCertificate>,
    /// The task, or none for the agent's standing task.
    pub task: Option<TaskId>,
    /// The person it is on behalf of, where they vouched for that by their identity provider. None is
    /// the agent itself, or the subject of the task named.
    pub subject: Option<UserName>,
    /// The resource.
    pub resource: ResourceName,
    /// The path.
    pub path: Path,
}

/// A client certificate a token can be bound to (RFC 8705).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundCertificate {
    /// SHA-256 over it.
    pub x5t: Thumbprint,
    /// When it ends. No token bound to it lives longer.
    pub expires: Timestamp,
}

/// A token and what it is good for.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The token itself. It is shown to its agent and never logged.
    pub token: secrecy::SecretString,
    /// Its lifetime in seconds.
    pub ttl_s: i64,
    /// The task it is for.
    pub task: TaskId,
    /// Whether it is bound to a key.
    pub is_bound: bool,
    /// Whether that is the key of a client certificate: such a token is sent as a bearer.
    pub is_of_certificate: bool,
    /// What was granted, in full.
    pub details: serde_json::Value,
}

impl TokenRequest {
    /// What the token is bound to.
    fn confirmation(&self) -> Option<Confirmation> {
        let of_certificate = self.certificate.map(|it| Confirmation::Certificate { x5t: it.x5t });
        of_certificate.or(self.thumbprint.map(|jkt| Confirmation::Key { jkt }))
    }
}

impl Broker {
    /// The audience of `resource` on `path`.
    pub fn audience(&self, path: Path, resource: &ResourceName) -> String {
        format!("{}/{path}/mcp/{resource}", self.issuer)
    }

    /// Issues a token, deciding anew each time. What is refused is recorded too.
    pub async fn issue_token(&self, request: TokenRequest) -> Result<IssuedToken, BrokerError> {
        let issued = self.issue(&request).await;
        if let Err(BrokerError::Refused { reason, .. }) = &issued {
            let mut header = Map::new();
            header.insert("path".into(), json!(request.path));
            header.insert("resource".into(), json!(request.resource));
            header.insert("task".into(), json!(request.task));
            let (agent, reason) = (&request.agent, *reason);
            self.record_turned_down(Refused { agent, event: "token_refused", reason, header });
        }
        issued
    }

    async fn issue(&self, request: &TokenRequest) -> Result<IssuedToken, BrokerError> {
        let view = self.view();
        let now = self.now();
        if !view.snapshot.is_fresh(now) {
            return Err(BrokerError::refused(Reason::SnapshotStale, "this node's view is stale"));
        }
        let agent = view.snapshot.agents.get(&request.agent).ok_or_else(|| {
            BrokerError::refused(
                Reason::AgentUnknown,
                format!("{} is not registered", request.agent),
            )
        })?;
        check_agent(&view.snapshot, agent)?;
        check_binding(agent, request)?;
        let instance = self.ensure_instance(&request.agent, request.thumbprint.as_ref()).await?;
        let task = match &request.task {
            Some(task) => task.clone(),
            None => self.standing_task(agent, request.subject.as_ref()).await?,
        };
        let (view, now) = (self.view(), self.now());
        let deadline = check_task(&view, request, &task, &instance, now)?;
        check_has_gateway(&view.snapshot, request)?;
        let claims = self.claims(request, &view, &task, instance, deadline, now.wall)?;
        let key = self.signing_key(KeyPurpose::AccessToken)?;
        let token =
            mint_access(&key, &claims).map_err(|error| BrokerError::Key(error.to_string()))?;
        self.record_token(request, &claims).await?;
        Ok(IssuedToken {
            token: token.into(),
            ttl_s: claims.exp.s() - now.wall.s(),
            task,
            is_bound: claims.cnf.is_some(),
            is_of_certificate: request.certificate.is_some(),
            details: serde_json::Value::Array(claims.authorization_details),
        })
    }

    /// Registers the running copy that proved this key, the first time it is seen.
    pub(crate) async fn ensure_instance(
        &self,
        agent: &AgentName,
        thumbprint: Option<&Thumbprint>,
    ) -> Result<InstanceId, BrokerError> {
        let id = instance_id(agent, thumbprint)?;
        if self.view().snapshot.instances.contains_key(&id) {
            return Ok(id);
        }
        check_copies(&self.view().snapshot, agent)?;
        self.transact(&Principal::Agent(agent.clone()), |state, draft, now| {
            if state.snapshot.instances.contains_key(&id) {
                return Ok(());
            }
            check_copies(&state.snapshot, agent)?;
            if let Some(oldest) = oldest_beyond(&state.snapshot, agent) {
                let (kind, gone) = (carnet_ledger::Kind::Agent, oldest.as_str());
                let details = json!({ "instance": oldest, "agent": agent });
                draft.record(kind, gone, "forgotten", true, &details, None);
                draft.delete(Key::new(Kind::Instance, gone));
            }
            let thumbprint = thumbprint.map(ToString::to_string);
            let details = json!({ "instance": id, "agent": agent, "bound": thumbprint.is_some() });
            let agent = agent.clone();
            draft.widens();
            draft.record(
                carnet_ledger::Kind::Agent,
                id.as_str(),
                "attested",
                false,
                &details,
                None,
            );
            draft.put(Item::Instance(Instance {
                id: id.clone(),
                agent,
                thumbprint,
                seen_at: now,
                marked: false,
            }))
        })
        .await?;
        // Its other paths ask at the same time: the one that came first may still wait for its leaf.
        self.wait_in_force(|view| view.snapshot.instances.contains_key(&id)).await;
        Ok(id)
    }

    /// How a token names `party`.
    pub(crate) fn name_of(&self, party: &Principal) -> String {
        match party {
            Principal::Agent(agent) => SpiffeId::agent(&self.trust_domain, agent).to_string(),
            user @ Principal::User(_) => user.to_string(),
        }
    }

    fn claims(
        &self,
        request: &TokenRequest,
        view: &View,
        task: &TaskId,
        instance: InstanceId,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Result<AccessClaims, BrokerError> {
        let client_id = SpiffeId::agent(&self.trust_domain, &request.agent).to_string();
        let held = view.snapshot.task(task).ok_or_else(|| unknown(task))?;
        let sub = self.name_of(&held.task.subject);
        let actors = view.snapshot.actors(task).map_err(|_| unknown(task))?;
        let actors =
            actors.into_iter().map(|it| SpiffeId::agent(&self.trust_domain, it).to_string());
        let longest = now.plus_s(request.path.token_ttl_s_max());
        let end = request.certificate.map_or(deadline, |it| it.expires.min(deadline));
        let act = act_of(&sub, actors);
        Ok(AccessClaims {
            iss: self.issuer.clone(),
            sub,
            client_id,
            aud: self.audience(request.path, &request.resource),
            iat: now,
            nbf: now,
            exp: longest.min(end),
            jti: format!("tok_{:032x}", fresh_bits()),
            scope: None,
            cnf: request.confirmation(),
            act,
            task: task.clone(),
            path: request.path,
            resource: request.resource.clone(),
            instance,
            authorization_details: vec![json!({
                "type": DETAILS_TYPE, "task": task, "path": request.path,
                "locations": [self.audience(request.path, &request.resource)],
            })],
        })
    }

    async fn record_token(
        &self,
        request: &TokenRequest,
        claims: &AccessClaims,
    ) -> Result<(), BrokerError> {
        let details = json!({
            "task": claims.task, "instance": claims.instance, "path": claims.path,
            "resource": claims.resource, "bound": claims.cnf.is_some(), "expires_us": claims.exp,
        });
        self.transact(&Principal::Agent(request.agent.clone()), |_, draft, _| {
            draft.widens();
            let kind = carnet_ledger::Kind::Grant;
            draft.record(kind, &claims.jti, "token_issued", false, &details, None);
            Ok(())
        })
        .await?;
        Ok(())
    }
}

/// Who acts, the present actor outermost, up to whom it is all for (RFC 8693 section 4.1). Who acts
/// for nobody else is not named twice.
pub(super) fn act_of(sub: &str, actors: impl DoubleEndedIterator<Item = String>) -> Option<Act> {
    let mut from_the_root = actors.rev().peekable();
    from_the_root.next_if(|root| root == sub);
    from_the_root.fold(None, |act, sub| Some(Act { sub, iss: None, act: act.map(Box::new) }))
}

pub(crate) fn unknown(task: &TaskId) -> BrokerError {
    BrokerError::refused(Reason::TaskUnknown, format!("{task} is closed or never existed"))
}

/// A client that cannot prove possession reads, where its agent may, and does nothing else.
fn check_binding(agent: &Agent, request: &TokenRequest) -> Result<(), BrokerError> {
    if request.thumbprint.is_some() || (request.path == Path::Read && agent.bearer_read) {
        return Ok(());
    }
    let detail = match request.path {
        Path::Read => "send a DPoP proof, or let the agent bear tokens with `--bearer-read`",
        Path::Write | Path::Admin => "a write or admin token is bound to a key: send a DPoP proof",
    };
    Err(BrokerError::refused(Reason::ProofRequired, detail))
}

/// Whether the agent may get any token: its owner is known and no lock stops it.
pub(crate) fn check_agent(snapshot: &Snapshot, agent: &Agent) -> Result<(), BrokerError> {
    if let Owner::User(owner) = &agent.owner
        && !snapshot.users.contains_key(owner)
    {
        let detail = format!("the owner of {} is not known any more", agent.name);
        return Err(BrokerError::refused(Reason::OwnerUnknown, detail));
    }
    match snapshot.is_locked(&LockTarget::Agent(agent.name.clone())) {
        true => Err(BrokerError::refused(Reason::Locked, format!("{} is locked", agent.name))),
        false => Ok(()),
    }
}

/// Whether another running copy of the agent may become known. While one is locked, none does:
/// a copy that was stopped is not back with a new key.
fn check_copies(snapshot: &Snapshot, agent: &AgentName) -> Result<(), BrokerError> {
    let locked = snapshot.instances.values().find(|instance| {
        instance.agent == *agent && snapshot.is_locked(&LockTarget::Instance(instance.id.clone()))
    });
    let Some(locked) = locked else { return Ok(()) };
    let detail = format!(
        "{} of {agent} is locked, and no new copy is let in meanwhile: lift that lock, or lock the agent",
        locked.id
    );
    Err(BrokerError::refused(Reason::Locked, detail))
}

/// Whether `task` is that of the person who vouched for it. One that an agent opened for a person gives
/// tokens only for as long as that person's identity provider goes on to vouch.
fn is_on_behalf_of(task: &Task, subject: Option<&UserName>) -> bool {
    match (&task.subject, subject) {
        (Principal::User(known), Some(asked)) => known == asked,
        (Principal::Agent(_), Some(_)) => false,
        (Principal::User(_), None) => !task.standing,
        (Principal::Agent(_), None) => true,
    }
}

/// Whether a call with the token could be live at all, and can reach anything there. Tells the
/// task's deadline. A task of another agent is none that the asker may know of.
pub(super) fn check_task(
    view: &View,
    request: &TokenRequest,
    task: &TaskId,
    instance: &InstanceId,
    now: Now,
) -> Result<Timestamp, BrokerError> {
    let held = view.snapshot.task(task).ok_or_else(|| unknown(task))?;
    if !is_on_behalf_of(&held.task, request.subject.as_ref()) {
        return Err(unknown(task));
    }
    let caller = Caller {
        agent: request.agent.clone(),
        instance: instance.clone(),
        task: task.clone(),
        path: request.path,
        resource: request.resource.clone(),
        token: String::new(),
        key: String::new(),
        expires: held.task.deadline,
        thumbprint: request.thumbprint.as_ref().map(ToString::to_string),
    };
    check_caller(&view.snapshot, &caller, now).map_err(|reason| match reason {
        Reason::TaskUnknown | Reason::TaskOfAnother => unknown(task),
        // The deadline is the token's own here.
        Reason::TokenExpired if held.task.agent == request.agent => {
            BrokerError::refused(Reason::TaskNotOpen, format!("{task} is past its deadline"))
        }
        Reason::TokenExpired => unknown(task),
        _ if held.task.agent != request.agent => unknown(task),
        other => BrokerError::refused(
            other,
            format!("{task} is {}: {}", held.task.state.as_str(), other.advice()),
        ),
    })?;
    if reachable(view, task, &request.resource, request.path, now.wall).is_empty() {
        let detail = format!(
            "{task} has nothing on the {} path of {}: see `carnet task show {task}`",
            request.path, request.resource
        );
        return Err(BrokerError::refused(Reason::NotCovered, detail));
    }
    Ok(held.task.deadline)
}

/// A federation target has no gateway: what is good there is asked for under its own address.
fn check_has_gateway(snapshot: &Snapshot, request: &TokenRequest) -> Result<(), BrokerError> {
    let resource = snapshot.resource(&request.resource);
    let is_target =
        resource.is_some_and(|known| matches!(known.upstream.transport, Transport::Federation(_)));
    let detail = format!("{} is a federation target: see docs/federation.md", request.resource);
    if is_target { Err(BrokerError::refused(Reason::NotCovered, detail)) } else { Ok(()) }
}

/// The running copy of `agent` that was seen first, where there is no room for another. One that is
/// marked goes last, because its mark goes with it.
fn oldest_beyond(snapshot: &Snapshot, agent: &AgentName) -> Option<InstanceId> {
    let mine = snapshot.instances.values().filter(|instance| instance.agent == *agent);
    let mine: Vec<_> = mine.collect();
    if mine.len() < INSTANCES_MAX {
        return None;
    }
    // None of them is locked: then no other would become known.
    let first = mine.iter().min_by_key(|instance| (instance.marked, instance.seen_at));
    first.map(|instance| instance.id.clone())
}

/// One running copy is one agent with one key. Copies without a key cannot be told apart.
fn instance_id(
    agent: &AgentName,
    thumbprint: Option<&Thumbprint>,
) -> Result<InstanceId, BrokerError> {
    let key = thumbprint.map(ToString::to_string).unwrap_or_default();
    let digest = Digest::of(format!("{agent}\n{key}").as_bytes()).to_string();
    let body: String = digest.trim_start_matches("sha256:").chars().take(32).collect();
    format!("{}{body}", InstanceId::PREFIX)
        .parse()
        .map_err(|error: carnet_core::IdError| BrokerError::invalid("instance", error.to_string()))
}
