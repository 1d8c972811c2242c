//! A client of the delegation endpoint: a part of this agent's task becomes another agent's.

use bytes::Bytes;
use carnet_core::{AgentName, Intent, TaskId};
use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::agent::token::{Endpoint, TokenClient, TokenError, read_denial};

/// What was handed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delegated {
    /// The child task.
    pub(crate) task: TaskId,
    /// Whose it is.
    pub(crate) agent: AgentName,
    /// The task it is a part of.
    pub(crate) parent: TaskId,
    /// How long it lasts, in seconds.
    pub(crate) expires_in: Option<i64>,
    /// What it holds.
    pub(crate) grants: Vec<GrantTold>,
}

/// A grant of it, as far as its delegator is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantTold {
    pub(crate) grant: String,
    pub(crate) action: String,
    pub(crate) path: String,
    pub(crate) state: String,
}

/// Carnet's no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing was handed on: {code}: {advice}{}", detail.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
pub(crate) struct DelegationRefusal {
    /// OAuth's error.
    pub(crate) error: String,
    /// Carnet's stable code.
    pub(crate) code: String,
    /// What to do.
    pub(crate) advice: String,
    /// Which part of the intent is meant.
    pub(crate) detail: Option<String>,
}

impl TokenClient {
    /// Hands on to `agent` what `intent` says, of `parent`, which is this agent's own task.
    pub(crate) async fn delegate(
        &self,
        parent: &TaskId,
        agent: &AgentName,
        intent: &Intent,
    ) -> Result<Delegated, TokenError> {
        let intent = serde_json::to_string(intent)
            .map_err(|error| TokenError::Garbled(error.to_string()))?;
        let mut attempt = 1;
        loop {
            let svid = self.svid().await?;
            let form = Self::client_form(svid.expose_secret())
                .append_pair("task", parent.as_str())
                .append_pair("agent", agent.as_str())
                .append_pair("intent", &intent)
                .finish();
            let (status, body) = self.post(Endpoint::Delegation, form).await?;
            match read(status, &body) {
                Err(refusal) => self.prepare_again(&mut attempt, refusal).await?,
                Ok(delegated) => return Ok(delegated),
            }
        }
    }
}

fn read(status: StatusCode, body: &Bytes) -> Result<Delegated, TokenError> {
    if status == StatusCode::CREATED {
        return serde_json::from_slice(body)
            .map_err(|error| TokenError::Garbled(error.to_string()));
    }
    let denial = read_denial(status, body)?;
    let (error, code, advice, detail) = (denial.error, denial.code, denial.advice, denial.detail);
    let advice = match code.as_str() {
        "task_unknown" => "the task is over, never existed, or is another agent's".to_owned(),
        _ => advice,
    };
    Err(TokenError::NotDelegated(DelegationRefusal { error, code, advice, detail }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::fixture::{FakeCarnet, SVID};

    fn intent() -> Intent {
        let text = r#"{"purpose":"p","allow":[{"action":"desk.tool.get_ticket","path":"read"}]}"#;
        Intent::from_json(text.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_part_of_a_task_is_handed_on_with_our_own_identity_and_key() {
        let carnet = FakeCarnet::start().await;
        carnet.set(|state| state.nonce = Some("n-1".into()));
        let tokens = carnet.tokens(None);
        let (parent, agent) = ("task_1".parse().unwrap(), "mail-agent".parse().unwrap());
        let delegated = tokens.delegate(&parent, &agent, &intent()).await.unwrap();
        assert_eq!((delegated.task.as_str(), &delegated.parent), ("task_2", &parent));
        let form = carnet.last_form();
        assert_eq!(form["client_assertion"], SVID);
        assert_eq!((form["task"].as_str(), form["agent"].as_str()), ("task_1", "mail-agent"));
        assert_eq!(Intent::from_json(form["intent"].as_bytes()).unwrap(), intent());
    }

    #[tokio::test]
    async fn a_refusal_says_which_part_of_the_intent_is_too_wide() {
        let carnet = FakeCarnet::start().await;
        carnet.set(|state| {
            state.refused_once = Some(("invalid_authorization_details", "delegation_refused: no"))
        });
        let (parent, agent) = ("task_1".parse().unwrap(), "mail-agent".parse().unwrap());
        let refused = carnet.tokens(None).delegate(&parent, &agent, &intent()).await.unwrap_err();
        assert_eq!(refused.to_string(), "nothing was handed on: delegation_refused: no");
        let body = br#"{"error":"e","error_description":"delegation_refused: no","detail":"allow[0]: uses\n"}"#;
        let refused = read(StatusCode::BAD_REQUEST, &Bytes::from_static(body)).unwrap_err();
        assert!(refused.to_string().ends_with("no (allow[0]: uses)"), "{refused}");
    }
}
