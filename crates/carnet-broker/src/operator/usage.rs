//! What agents were given against what they used: so that who answers for an agent can narrow it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Json, Router};
use carnet_core::{
    Agent, AgentName, Grant, GrantId, Owner, Path, Snapshot, Task, TaskId, Timestamp, Verb,
};
use carnet_ledger::{Kind as LeafKind, Leaf};
use carnet_store::Kind;
use serde::{Deserialize, Serialize};

use super::{Desk, Failure, Operator};
use crate::error::BrokerError;
use crate::item::Item;

/// How many leaves are looked through, from the newest back.
const LEAVES_LOOKED_AT_MAX: u64 = 1_000_000;

pub(crate) fn routes() -> Router<Desk> {
    Router::new().route("/v1/agents/review", get(review))
}

/// One agent, and what it made of what it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentUsage {
    /// Its name.
    pub agent: AgentName,
    /// Who answers for it.
    pub owner: Owner,
    /// Whether that is a person Carnet knows, or a team with somebody in it.
    pub owner_known: bool,
    /// When it last did what a grant covers, as far as that is looked back.
    pub last_used: Option<Timestamp>,
    /// What it was given, one line for each pattern on each path.
    pub authority: Vec<Authority>,
}

/// One pattern on one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// The pattern.
    pub action: String,
    /// The path.
    pub path: Path,
    /// How many grants it was in.
    pub granted: u32,
    /// How many of them were used, or handed on to be used.
    pub used: u32,
    /// How many can be used now.
    pub live: u32,
    /// When one of them was used last.
    pub last_used: Option<Timestamp>,
}

async fn review(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Vec<AgentUsage>>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let tasks: Vec<Task> = desk
        .history(Kind::Task, |item| match item {
            Item::Task(task) => Some(task),
            _ => None,
        })
        .await?;
    let grants: Vec<Grant> = desk
        .history(Kind::Grant, |item| match item {
            Item::Grant(grant) => Some(grant),
            _ => None,
        })
        .await?;
    let used = look_back(&desk).await?;
    let now = desk.broker.now().wall;
    Ok(Json(tally(&desk.broker.view().snapshot, &tasks, &grants, used, now)))
}

/// When each grant was used last, as the ledger's permits tell.
async fn look_back(desk: &Desk) -> Result<BTreeMap<GrantId, Timestamp>, BrokerError> {
    let ledger = desk.broker.ledger().clone();
    let look = tokio::task::spawn_blocking(move || {
        let mut used = BTreeMap::new();
        for leaf in ledger.leaves(ledger.size().saturating_sub(LEAVES_LOOKED_AT_MAX)) {
            let leaf = leaf?;
            if let Some(grant) = grant_used(&leaf) {
                used.insert(grant, leaf.at());
            }
        }
        Ok::<_, carnet_ledger::LedgerError>(used)
    });
    let looked = look.await.map_err(|error| BrokerError::Ledger(error.to_string()))?;
    looked.map_err(|error| BrokerError::Ledger(error.to_string()))
}

fn grant_used(leaf: &Leaf) -> Option<GrantId> {
    let header = leaf.header();
    let is_permit = leaf.kind() == LeafKind::Decision
        && header.get("decision").and_then(serde_json::Value::as_str) == Some("permit");
    let grant = header.get("grant").filter(|_| is_permit)?;
    grant.as_str()?.parse().ok()
}

/// What each agent was given and used, by owner and name.
fn tally(
    snapshot: &Snapshot,
    tasks: &[Task],
    grants: &[Grant],
    mut used: BTreeMap<GrantId, Timestamp>,
    now: Timestamp,
) -> Vec<AgentUsage> {
    // What a yes or a part was used for was in the grant it came from: ids are in the order they were
    // made, so that what comes from another is looked at before it.
    let mut by_age: Vec<&Grant> = grants.iter().collect();
    by_age.sort_by(|one, other| other.id.cmp(&one.id));
    for grant in by_age {
        let Some(at) = used.get(&grant.id).copied() else { continue };
        for base in [&grant.draws_on, &grant.cut_from].into_iter().flatten() {
            let known = used.entry(base.clone()).or_insert(at);
            *known = at.max(*known);
        }
    }
    let agent_of: BTreeMap<&TaskId, &AgentName> =
        tasks.iter().map(|task| (&task.id, &task.agent)).collect();
    let mut usages: Vec<AgentUsage> = snapshot
        .agents
        .values()
        .map(|agent| {
            let of_agent = |grant: &&Grant| agent_of.get(&grant.task) == Some(&&agent.name);
            // A yes to one call is no authority of its own.
            let given = grants.iter().filter(of_agent).filter(|grant| grant.draws_on.is_none());
            usage(snapshot, agent, given, &used, now)
        })
        .collect();
    usages.sort_by_key(|usage| (usage.owner.to_string(), usage.agent.clone()));
    usages
}

fn usage<'a>(
    snapshot: &Snapshot,
    agent: &Agent,
    given: impl Iterator<Item = &'a Grant>,
    used: &BTreeMap<GrantId, Timestamp>,
    now: Timestamp,
) -> AgentUsage {
    let mut lines: BTreeMap<(String, Path), Authority> = BTreeMap::new();
    for grant in given {
        let (action, path) = (grant.allowance.action.to_string(), grant.allowance.path);
        let line = lines.entry((action.clone(), path)).or_insert_with(|| Authority {
            action,
            path,
            granted: 0,
            used: 0,
            live: 0,
            last_used: None,
        });
        let at = used.get(&grant.id).copied();
        line.granted += 1;
        line.used += u32::from(at.is_some());
        line.live += u32::from(grant.is_live(now));
        line.last_used = line.last_used.max(at);
    }
    let authority: Vec<Authority> = lines.into_values().collect();
    let owner_known = match &agent.owner {
        Owner::User(user) => snapshot.users.contains_key(user),
        Owner::Team(team) => snapshot.users.values().any(|user| user.teams.contains(team.as_str())),
    };
    AgentUsage {
        agent: agent.name.clone(),
        owner: agent.owner.clone(),
        owner_known,
        last_used: authority.iter().filter_map(|line| line.last_used).max(),
        authority,
    }
}
