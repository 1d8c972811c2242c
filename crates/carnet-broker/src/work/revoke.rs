//! Taking a token back: it is dead at once on every node, and with it what was handed on with it.

use std::sync::Arc;

use carnet_core::{AgentName, Closure, Principal, Reason, RevokedToken, Task, TaskId, Timestamp};
use carnet_store::{Key, Kind};
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::work::close::close_below;

/// How many commits taking one token back may take: each does as much as fits in it.
const STEPS_MAX: usize = 10_000;
/// The most tokens of one agent that are known to be taken back at a time. An agent that takes back
/// more is told to come again: they expire within minutes.
const REVOKED_OF_AGENT_MAX: usize = 4_096;
/// How long one is known past its end: a clock may step back by this much.
const KEPT_S: i64 = 600;

impl Broker {
    /// Takes a token back, and closes the tasks that were handed on with it. A brake: no policy can
    /// disable it.
    ///
    /// The token and what was handed on with it permit nothing once the first commit is in force;
    /// what does not fit in that one is closed in further ones, or by the sweep after a crash.
    pub async fn revoke_token(
        &self,
        token: &RevokedToken,
        by: &AgentName,
    ) -> Result<Done, BrokerError> {
        let by = Principal::Agent(by.clone());
        let (mut left, mut done) = self.revoke_step(token, &by).await?;
        for _ in 0..STEPS_MAX {
            if !left {
                break;
            }
            let step = self.revoke_step(token, &by).await?;
            left = step.0;
            done.complete_at = step.1.complete_at;
            done.revision = done.revision.and(step.1.revision);
        }
        Ok(done)
    }

    async fn revoke_step(
        &self,
        token: &RevokedToken,
        by: &Principal,
    ) -> Result<(bool, Done), BrokerError> {
        self.transact(by, |state, draft, now| {
            draft.brakes();
            if !state.snapshot.tokens_revoked.contains_key(&token.jti) {
                check_room(state, &token.agent)?;
                let details = json!({ "task": token.task, "agent": token.agent });
                let kind = carnet_ledger::Kind::Grant;
                draft.record(kind, &token.jti, "token_revoked", true, &details, None);
                draft.put(Item::RevokedToken(token.clone()))?;
            }
            for child in opened_with(state, &token.jti) {
                if close_below(state, draft, &child, Closure::Revoked, now)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }
}

/// The tasks that were handed on with the token named `jti`.
fn opened_with(state: &State, jti: &str) -> Vec<TaskId> {
    let is_with = |task: &Task| task.opened_with.as_deref() == Some(jti);
    let tasks = state.snapshot.tasks.values().filter(|view| is_with(&view.task));
    tasks.map(|view| view.task.id.clone()).collect()
}

fn check_room(state: &State, agent: &AgentName) -> Result<(), BrokerError> {
    let revoked = state.snapshot.tokens_revoked.values();
    if revoked.filter(|token| token.agent == *agent).count() < REVOKED_OF_AGENT_MAX {
        return Ok(());
    }
    let detail =
        format!("{agent} took {REVOKED_OF_AGENT_MAX} tokens back in a few minutes: close the task");
    Err(BrokerError::refused(Reason::BudgetSpent, detail))
}

/// The tokens that were taken back and are long over, with nothing open that was handed on with them.
pub(crate) fn spent(state: &State, now: Timestamp) -> impl Iterator<Item = &Arc<RevokedToken>> {
    let all = state.snapshot.tokens_revoked.values();
    let old = all.filter(move |token| token.expires.s().saturating_add(KEPT_S) <= now.s());
    old.filter(|token| opened_with(state, &token.jti).is_empty())
}

/// Removes what is spent, as far as it fits in one commit, and tells whether that was all.
pub(crate) fn sweep(state: &State, draft: &mut Draft<'_>, now: Timestamp) -> bool {
    for token in spent(state, now) {
        if !draft.has_room() {
            return false;
        }
        draft.delete(Key::new(Kind::Token, token.jti.as_str()));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_fills_the_view_with_no_more_than_its_share_of_revoked_tokens() {
        let mut state = State::default();
        let [one, two]: [AgentName; 2] = ["one", "two"].map(|name| name.parse().unwrap());
        let all = (0..REVOKED_OF_AGENT_MAX).map(|n| {
            let (jti, task) = (format!("tok_{n}"), "task_1".parse().unwrap());
            let expires = Timestamp::from_s(1_000);
            (jti.clone(), Arc::new(RevokedToken { jti, agent: one.clone(), task, expires }))
        });
        state.snapshot.tokens_revoked = Arc::new(all.collect());
        assert!(check_room(&state, &one).is_err());
        assert!(check_room(&state, &two).is_ok());
        assert_eq!(spent(&state, Timestamp::from_s(1_599)).count(), 0);
        assert_eq!(spent(&state, Timestamp::from_s(1_600)).count(), REVOKED_OF_AGENT_MAX);
    }
}
