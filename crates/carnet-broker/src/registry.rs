//! The registry: agents, users and resources, and the review that puts operations on paths.

use std::collections::BTreeMap;

use carnet_core::{
    ActionName, Agent, AgentName, ArgumentKind, Digest, EffectClass, Identity, Owner, Path,
    Principal, Registered, Resource, ResourceName, RunAs, Selectors, Transport, User, UserName,
};
use carnet_store::{Key, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::broker::{Broker, Done};
use crate::context::change::forget_copies;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::federation;
use crate::item::Item;
use crate::oauth::authorize::is_redirect_uri;
use crate::state::State;
use crate::work::sweep::carnet;

/// How many reviews are written in one commit.
const REVIEWS_A_STEP: usize = 32;
/// The most names other authorities have for one agent.
const IDENTITIES_MAX: usize = 16;

/// What a reviewer decided about one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// The operation.
    pub action: ActionName,
    /// The digest of the definition the reviewer saw.
    pub pin: Digest,
    /// The definition itself.
    pub definition: Value,
    /// The path to put it on, or none to take it off every path.
    pub path: Option<Path>,
    /// What it does.
    pub effect: EffectClass,
    /// How its arguments are read.
    #[serde(default)]
    pub arguments: BTreeMap<String, ArgumentKind>,
}

impl Broker {
    /// Registers an agent, or changes its registration.
    pub async fn put_agent(&self, agent: Agent, by: &UserName) -> Result<Done, BrokerError> {
        let uid = agent.selectors.as_ref().map(|selectors| selectors.uid);
        if uid == Some(0) {
            tracing::warn!(agent = %agent.name, "the agent runs as root: any process of root can be it");
        }
        let _lane = self.lanes.enter(&("agent", &agent.name)).await;
        check_registration(&self.latest(), &agent)?;
        crate::identities::check(&self.trust_domain, &self.issuer, &agent)?;
        // What rests on the registration as it was is stopped before it is another.
        let narrowed = self.narrow_for(&agent, by).await?;
        let by = Principal::User(by.clone());
        let (left, done) = self
            .transact(&by, |state, draft, now| {
                check_registration(state, &agent)?;
                let details = json!({
                    "owner": agent.owner, "environment": agent.environment,
                    "selectors": agent.selectors, "identities": names(&agent), "bearer_read": agent.bearer_read,
                    "standing": agent.standing.as_ref().map(|it| Digest::of_json(&json!(it)).ok()),
                });
                draft.widens();
                let (kind, id) = (carnet_ledger::Kind::Agent, agent.name.as_str());
                draft.record(kind, id, "registered", false, &details, None);
                draft.put(Item::Agent(agent.clone()))?;
                // What was given to an old copy since the first commit is from before, too.
                match &narrowed {
                    Some(it) if it.forgets_copies => forget_copies(state, draft, &agent.name, now),
                    _ => Ok(false),
                }
            })
            .await?;
        if let Some(change) = narrowed.filter(|change| left || self.is_open_under(change)) {
            self.change_context(&change, &by).await?;
        }
        Ok(done)
    }

    /// Makes the known users exactly those of the configuration.
    pub async fn put_users(&self, users: Vec<User>) -> Result<Done, BrokerError> {
        self.narrow_for_people(&users).await?;
        loop {
            let by = carnet()?;
            let changed =
                self.transact(&by, |state, draft, _| put_some_users(state, draft, &users));
            let (is_whole, done) = changed.await?;
            if is_whole {
                return Ok(done);
            }
        }
    }

    /// Registers a resource without any reviewed operation, or changes where it is. A changed
    /// upstream loses its reviews: what was reviewed was another server.
    pub async fn put_resource(
        &self,
        resource: Resource,
        by: &UserName,
    ) -> Result<Done, BrokerError> {
        self.admit_target(&resource).await?;
        let (_, done) = self
            .transact(&Principal::User(by.clone()), |state, draft, _| {
                let mut resource = resource.clone();
                resource.operations = BTreeMap::new();
                let runs_as = run_as(&resource);
                let is_its = |agent: &Agent| match (&agent.selectors, runs_as) {
                    (Some(selectors), Some(it)) => it.uid == selectors.uid,
                    _ => false,
                };
                if let Some(agent) = state.snapshot.agents.values().find(|agent| is_its(agent)) {
                    let problem = format!(
                        "it is the uid of the agent `{}`, which the server could then be: choose another",
                        agent.name
                    );
                    return Err(BrokerError::invalid("upstream.transport.stdio.run_as", problem));
                }
                if let Some(known) = state.snapshot.resources.get(&resource.name)
                    && known.upstream.transport == resource.upstream.transport
                {
                    resource.operations = known.operations.clone();
                }
                let details = json!({
                    "environment": resource.environment, "labels": resource.labels,
                    "credentials": resource.upstream.credentials.keys().collect::<Vec<_>>(),
                    "run_as": runs_as,
                });
                draft.widens();
                let (kind, id) = (carnet_ledger::Kind::Resource, resource.name.as_str());
                draft.record(kind, id, "registered", false, &details, None);
                draft.put(Item::Resource(resource))
            })
            .await?;
        Ok(done)
    }

    /// Records a person's review of operations of a resource.
    pub async fn review(
        &self,
        resource: &ResourceName,
        reviews: Vec<Review>,
        by: &UserName,
    ) -> Result<Done, BrokerError> {
        check_reviews(resource, &reviews)?;
        let mut done = None;
        for some in reviews.chunks(REVIEWS_A_STEP) {
            done = Some(self.review_some(resource, some, by).await?);
        }
        done.ok_or_else(|| BrokerError::invalid("reviews", "there is none: review at least one"))
    }

    async fn review_some(
        &self,
        resource: &ResourceName,
        reviews: &[Review],
        by: &UserName,
    ) -> Result<Done, BrokerError> {
        let (_, done) = self
            .transact(&Principal::User(by.clone()), |state, draft, _| {
                let known =
                    state.snapshot.resources.get(resource).ok_or_else(|| BrokerError::Missing {
                        kind: "resource",
                        id: resource.to_string(),
                        hint: "register it with `carnet resource add`",
                    })?;
                let mut reviewed = (**known).clone();
                for review in reviews {
                    federation::check_review(known, review)?;
                    apply(&mut reviewed, review);
                    let details = json!({
                        "resource": resource, "pin": review.pin, "path": review.path,
                        "effect": review.effect,
                    });
                    let kind = carnet_ledger::Kind::Resource;
                    draft.record(kind, review.action.as_str(), "reviewed", false, &details, None);
                }
                draft.widens();
                draft.put(Item::Resource(reviewed))
            })
            .await?;
        Ok(done)
    }

    /// The agent named `name`.
    pub fn agent(&self, name: &AgentName) -> Option<std::sync::Arc<Agent>> {
        self.view().snapshot.agents.get(name).cloned()
    }
}

fn check_registration(state: &State, agent: &Agent) -> Result<(), BrokerError> {
    check_owner(state, &agent.owner)?;
    check_standing(agent)?;
    check_told_apart(state, agent)
}

/// Whether there is somebody who answers for what is owned.
fn check_owner(state: &State, owner: &Owner) -> Result<(), BrokerError> {
    let users = &state.snapshot.users;
    let problem = match owner {
        Owner::User(name) if !users.contains_key(name) => {
            format!("there is no user `{name}`: add them to carnet.toml first")
        }
        Owner::Team(team) if !users.values().any(|user| user.teams.contains(team.as_str())) => {
            format!("nobody is in the team `{team}`: add a user to it in carnet.toml first")
        }
        Owner::User(_) | Owner::Team(_) => return Ok(()),
    };
    Err(BrokerError::invalid("owner", problem))
}

/// An agent is told by something, and nobody else is told by the same.
fn check_told_apart(state: &State, agent: &Agent) -> Result<(), BrokerError> {
    if agent.selectors.is_none() && agent.identities.is_empty() {
        let problem = "nothing tells a running copy of it: name its uid, or who vouches for it";
        return Err(BrokerError::invalid("selectors", problem));
    }
    if agent.identities.len() > IDENTITIES_MAX {
        let problem = format!("an agent has at most {IDENTITIES_MAX}");
        return Err(BrokerError::invalid("identities", problem));
    }
    for (n, identity) in agent.identities.iter().enumerate() {
        if let Identity::Client { redirect_uris, .. } = identity
            && let Some(uri) = redirect_uris.iter().find(|uri| !is_redirect_uri(uri))
        {
            let problem = format!(
                "`{uri}` is no redirect URI: write https, http on a loopback address, or a scheme with a dot"
            );
            return Err(BrokerError::invalid(format!("identities[{n}].redirect_uris"), problem));
        }
        if let Some(other) = state.snapshot.agent_of(identity).filter(|it| it.name != agent.name) {
            let problem = format!("it is the agent `{}`: one identity is one agent's", other.name);
            return Err(BrokerError::invalid(format!("identities[{n}]"), problem));
        }
    }
    let Some(Selectors { uid, .. }) = &agent.selectors else { return Ok(()) };
    let runs = |known: &&std::sync::Arc<Resource>| run_as(known).is_some_and(|it| it.uid == *uid);
    if let Some(known) = state.snapshot.resources.values().find(runs) {
        let problem = format!(
            "the server of `{}` runs as uid {uid} and could be this agent: choose another",
            known.name
        );
        return Err(BrokerError::invalid("selectors.uid", problem));
    }
    Ok(())
}

/// The names of an agent's identities, as the record has them.
fn names(agent: &Agent) -> Vec<String> {
    agent.identities.iter().map(ToString::to_string).collect()
}

/// What an agent may open by itself are reads: nobody is asked when it does.
fn check_standing(agent: &Agent) -> Result<(), BrokerError> {
    let allowances = agent.standing.iter().flat_map(|intent| &intent.allowances).enumerate();
    for (n, allowance) in allowances {
        if allowance.path != Path::Read {
            let problem = format!(
                "it is on the {} path, and a standing intent is of reads: open a task for the rest",
                allowance.path
            );
            return Err(BrokerError::invalid(format!("standing.allow[{n}].path"), problem));
        }
    }
    Ok(())
}

/// Brings as many users up to date as fit in one commit, and tells whether that was all.
fn put_some_users(
    state: &State,
    draft: &mut Draft<'_>,
    users: &[User],
) -> Result<bool, BrokerError> {
    let kind = carnet_ledger::Kind::Node;
    let known = &state.snapshot.users;
    for user in users {
        if known.get(&user.name).is_some_and(|known| **known == *user) {
            continue;
        }
        if !draft.has_room() {
            return Ok(false);
        }
        let details = json!({ "teams": user.teams, "logins": user.logins.len() });
        draft.record(kind, user.name.as_str(), "user_known", false, &details, None);
        draft.put(Item::User(user.clone()))?;
    }
    for gone in known.keys().filter(|known| users.iter().all(|user| user.name != **known)) {
        if !draft.has_room() {
            return Ok(false);
        }
        draft.record(kind, gone.as_str(), "user_gone", true, &json!({}), None);
        draft.delete(Key::new(Kind::Operator, gone.as_str()));
    }
    Ok(true)
}

/// The user the resource's child process runs as, where it is one and has one.
fn run_as(resource: &Resource) -> Option<RunAs> {
    match &resource.upstream.transport {
        Transport::Stdio { run_as, .. } => *run_as,
        Transport::Http { .. } | Transport::Federation(_) => None,
    }
}

fn apply(resource: &mut Resource, review: &Review) {
    let Some(path) = review.path else {
        resource.operations.remove(&review.action);
        return;
    };
    let registered = Registered {
        action: review.action.clone(),
        path,
        effect: review.effect,
        arguments: review.arguments.clone(),
        pin: review.pin,
        definition: review.definition.clone(),
    };
    resource.operations.insert(review.action.clone(), registered);
}

/// A review must be of this resource, of the definition it shows, and keep what carries
/// agent-chosen bytes out, or has no parser, off the read path.
fn check_reviews(resource: &ResourceName, reviews: &[Review]) -> Result<(), BrokerError> {
    for (index, review) in reviews.iter().enumerate() {
        let field = |name: &str| format!("reviews[{index}].{name}");
        if review.action.as_str().split('.').next() != Some(resource.as_str()) {
            return Err(BrokerError::invalid(
                field("action"),
                format!("it is not of `{resource}`"),
            ));
        }
        if Digest::of_json(&review.definition)? != review.pin {
            let problem = "it is not the digest of `definition`: review what is there now";
            return Err(BrokerError::invalid(field("pin"), problem));
        }
        if review.path == Some(Path::Read) && !review.effect.is_closed() {
            let problem =
                "reading can be sending: what leaves the organisation travels on the write path";
            return Err(BrokerError::invalid(field("path"), problem));
        }
        let opaque = |kind: &ArgumentKind| matches!(kind, ArgumentKind::Code | ArgumentKind::Sql);
        let is_opaque = review.arguments.values().any(opaque);
        if is_opaque && !matches!(review.path, None | Some(Path::Admin)) {
            let problem = "an argument of SQL or code has no parser in this version: it is admin";
            return Err(BrokerError::invalid(field("path"), problem));
        }
    }
    Ok(())
}
