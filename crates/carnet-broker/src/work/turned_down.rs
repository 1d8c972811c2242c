//! Tokens and delegations that were refused: a decision like any other, and recorded. An agent that asks on and on
//! gets one record a second, with how many there were.

use std::collections::BTreeMap;
use std::sync::Mutex;

use carnet_core::{AgentName, DecisionId, DecisionKind, Monotonic, Principal, Reason};
use carnet_ledger::{Entry, Kind};
use serde_json::{Map, json};

use crate::broker::{Broker, lock};
use crate::clock::fresh_bits;

/// How often a refusal of one agent is recorded.
const TOLD_EVERY_US: u64 = 1_000_000;

/// What an agent was refused.
pub(crate) struct Refused<'a> {
    pub(crate) agent: &'a AgentName,
    /// The name of the event.
    pub(crate) event: &'static str,
    pub(crate) reason: Reason,
    /// What it asked for.
    pub(crate) header: Map<String, serde_json::Value>,
}

/// When each agent's refusals were recorded last.
#[derive(Debug, Default)]
pub(crate) struct TurnedDown {
    by_agent: Mutex<BTreeMap<AgentName, Told>>,
}

#[derive(Debug)]
struct Told {
    at_us: u64,
    /// How many came since.
    since: u64,
}

impl TurnedDown {
    /// How many refusals of `agent` the record made now stands for, this one among them; none
    /// where one was made a moment ago.
    pub(crate) fn due(&self, agent: &AgentName, now: Monotonic) -> Option<u64> {
        let mut by_agent = lock(&self.by_agent);
        by_agent.retain(|_, told| told.since > 0 || now.us() < told.at_us + TOLD_EVERY_US);
        match by_agent.get_mut(agent) {
            Some(told) if now.us() < told.at_us + TOLD_EVERY_US => {
                told.since = told.since.saturating_add(1);
                None
            }
            told => {
                let count = told.map_or(0, |told| told.since).saturating_add(1);
                by_agent.insert(agent.clone(), Told { at_us: now.us(), since: 0 });
                Some(count)
            }
        }
    }
}

impl Broker {
    /// Records that something was refused. Nobody waits for it: nothing was granted.
    pub(crate) fn record_turned_down(&self, refused: Refused<'_>) {
        let Refused { agent, event, reason, mut header } = refused;
        let now = self.now();
        let Some(count) = self.turned_down.due(agent, now.mono) else { return };
        header.insert("agent".into(), json!(agent));
        header.insert("count".into(), json!(count));
        header.insert("decision".into(), json!(DecisionKind::Deny));
        header.insert("event".into(), json!(event));
        header.insert("reasons".into(), json!([reason]));
        header.insert("revision".into(), json!(self.view().snapshot.revision));
        let entry = Entry {
            kind: Kind::Decision,
            id: DecisionId::from_bits(fresh_bits()).to_string(),
            at: now.wall,
            header,
            sealed: Vec::new(),
            subject: Principal::Agent(agent.clone()).to_string(),
            position: None,
            narrows: false,
        };
        self.write_behind(&entry);
    }

    /// Writes without waiting. A record that fails is logged; the ledger then refuses permits itself.
    pub(crate) fn write_behind(&self, entry: &Entry) {
        let append = self.ledger.append_behind(entry);
        tokio::spawn(async move {
            if let Err(error) = append.await {
                tracing::error!(%error, "a refusal could not be recorded");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_without_end_are_one_record_a_second_that_counts_them() {
        let told = TurnedDown::default();
        let [one, two] = ["one", "two"].map(|name| name.parse().unwrap());
        let at = |us| Monotonic::from_us(7 + us);
        assert_eq!(told.due(&one, at(0)), Some(1));
        assert_eq!(told.due(&one, at(1)), None);
        assert_eq!(told.due(&one, at(TOLD_EVERY_US - 1)), None);
        assert_eq!(told.due(&two, at(TOLD_EVERY_US - 1)), Some(1));
        assert_eq!(told.due(&one, at(TOLD_EVERY_US)), Some(3));
        assert_eq!(told.due(&one, at(9 * TOLD_EVERY_US)), Some(1));
        assert_eq!(lock(&told.by_agent).len(), 1, "who is quiet is forgotten");
    }
}
