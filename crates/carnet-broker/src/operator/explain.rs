//! Explaining a decision from what was stored of it: its leaf, its sealed inputs, and the policy
//! set it names by digest.

use carnet_core::{DecisionId, Digest, Document};
use carnet_ledger::{Kind, Leaf};
use carnet_policy::CedarPolicy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ledger::shown;
use crate::broker::Broker;
use crate::error::BrokerError;

/// How many leaves are looked through, from the newest back.
const LEAVES_LOOKED_AT_MAX: u64 = 1_000_000;

/// A decision, with everything it was made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explained {
    /// The decision's leaf.
    pub decision: Value,
    /// What became of it, where that is known.
    pub outcome: Option<Value>,
    /// The sealed inputs, opened.
    pub inputs: Value,
    /// What is missing of them, and why.
    pub missing: Value,
    /// The policies that determined it, with their text.
    pub policies: Value,
    /// Where its task stands now, where it is not over: its state, and why it is suspended.
    #[serde(default)]
    pub task: Value,
    /// What each reason means and what to do.
    pub advice: Vec<String>,
}

pub(crate) async fn explain(broker: &Broker, id: &DecisionId) -> Result<Explained, BrokerError> {
    let (decision, outcome) = find(broker, id).await?;
    let unsealed = broker.ledger().unseal(&decision);
    let unsealed = unsealed.map_err(|error| BrokerError::Ledger(error.to_string()))?;
    let inputs: Map<String, Value> = unsealed.values.clone().into_iter().collect();
    let policies = policies(broker, &decision, &inputs).await;
    let reasons = decision.header().get("reasons").cloned().unwrap_or_default();
    let reasons: Vec<carnet_core::Reason> = serde_json::from_value(reasons).unwrap_or_default();
    Ok(Explained {
        decision: shown(&decision),
        outcome: outcome.as_ref().map(shown),
        inputs: Value::Object(inputs),
        missing: json!(
            unsealed
                .missing
                .iter()
                .map(|(name, why)| (name.clone(), why.to_string()))
                .collect::<std::collections::BTreeMap<_, _>>()
        ),
        policies,
        task: task_of(broker, &decision),
        advice: reasons.iter().map(|reason| format!("{reason}: {}", reason.advice())).collect(),
    })
}

/// Where the task of a decision stands now.
fn task_of(broker: &Broker, decision: &Leaf) -> Value {
    let id = decision.header().get("task").and_then(Value::as_str);
    let id = id.and_then(|id| id.parse::<carnet_core::TaskId>().ok());
    let view = broker.view();
    let held = id.and_then(|id| view.snapshot.task(&id).cloned());
    held.map_or(Value::Null, |held| {
        let task = &held.task;
        json!({ "id": task.id, "state": task.state.as_str(), "suspension": task.suspension })
    })
}

/// The decision's leaf and its outcome's, looked for from the newest back.
async fn find(broker: &Broker, id: &DecisionId) -> Result<(Leaf, Option<Leaf>), BrokerError> {
    let ledger = broker.ledger().clone();
    let wanted = id.to_string();
    let look = tokio::task::spawn_blocking(move || {
        let (mut decision, mut outcome) = (None, None);
        let size = ledger.size();
        let from = size.saturating_sub(LEAVES_LOOKED_AT_MAX);
        for leaf in ledger.leaves(from) {
            let leaf = leaf?;
            match leaf.kind() {
                Kind::Decision if leaf.id() == wanted => decision = Some(leaf),
                // What a start says of an outcome nobody told comes after what was told.
                Kind::Outcome if leaf.id() == wanted && outcome.is_none() => outcome = Some(leaf),
                _ => {}
            }
        }
        Ok::<_, carnet_ledger::LedgerError>((decision, outcome))
    });
    let found = look.await.map_err(|error| BrokerError::Ledger(error.to_string()))?;
    let (decision, outcome) = found.map_err(|error| BrokerError::Ledger(error.to_string()))?;
    let decision = decision.ok_or_else(|| BrokerError::Missing {
        kind: "decision",
        id: id.to_string(),
        hint: "it is older than what is looked through, or was never made; see `carnet ledger tail`",
    })?;
    Ok((decision, outcome))
}

/// What the policy set that decided says of the same document today's binary reads from the record.
async fn policies(broker: &Broker, leaf: &Leaf, inputs: &Map<String, Value>) -> Value {
    let Some(digest) = leaf.header().get("policy").and_then(Value::as_str) else {
        return Value::Null;
    };
    let Ok(digest) = digest.parse::<Digest>() else { return Value::Null };
    let Some(document) = document(inputs) else { return Value::Null };
    let source = match broker.policy_source(digest).await {
        Ok(source) => source,
        Err(error) => return json!({ "unavailable": error.to_string() }),
    };
    match CedarPolicy::load(&source) {
        Ok(policy) => json!(policy.explain(&document)),
        Err(errors) => json!({ "unavailable": errors.to_string() }),
    }
}

/// The document, with the arguments put back that were sealed beside it.
fn document(inputs: &Map<String, Value>) -> Option<Document> {
    let mut document = inputs.get("document")?.clone();
    document.as_object_mut()?.insert("arguments".to_owned(), inputs.get("arguments")?.clone());
    serde_json::from_value(document).ok()
}
