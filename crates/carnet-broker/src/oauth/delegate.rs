//! The delegation endpoint: an agent hands a part of its task on to another agent. It proves who it
//! is as at the token endpoint, and holds no token of the other at any time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carnet_core::{AgentName, Intent, Reason, TaskId};
use carnet_identity::Thumbprint;
use serde_json::{Value, json};

use crate::error::BrokerError;
use crate::oauth::form::Form;
use crate::oauth::prove::Caller;
use crate::oauth::refusal::{Kind, NamedIn, Refusal};
use crate::oauth::surface::Surface;
use crate::oauth::token::{check_head, with_nonce};
use crate::work::DelegateTask;

/// The longest form: an assertion of 8 KiB and an intent.
const FORM_BYTES_MAX: usize = 96 * 1024;

/// Hands a part of a task on, or says why not.
pub(crate) async fn delegate(State(surface): State<Arc<Surface>>, request: Request) -> Response {
    let response = match surface.delegate(request).await {
        Ok(told) => {
            let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            (StatusCode::CREATED, [no_store], Json(told)).into_response()
        }
        Err(refusal) => refusal.into_response(),
    };
    with_nonce(&surface, response)
}

impl Surface {
    async fn delegate(&self, request: Request) -> Result<Value, Refusal> {
        let (parts, body) = request.into_parts();
        check_head(&parts.headers, parts.uri.query())?;
        let form = Form::read(&parts.headers, body, FORM_BYTES_MAX).await?;
        let _turn = self.turn()?;
        let now = self.broker.now().wall;
        let (caller, refused) = self.client_of(&parts, &form, now)?;
        let proof = self.prove(&parts.headers, &self.delegation_endpoint, now)?;
        let needed = Refusal::for_reason(Kind::InvalidProof, Reason::ProofRequired);
        let bound = self.bound(&parts, &caller, now)?;
        let key = proof.as_ref().map(|proof| proof.thumbprint).or(bound.map(|bound| bound.key));
        let key = key.ok_or(needed)?;
        let asked = Asked::read(&form)?;
        self.spend(&caller, refused, proof.as_ref(), now)?;
        let (parent, agent) = (asked.parent.clone(), asked.agent.clone());
        let task = self.hand_on(&caller, key, asked).await?;
        Ok(self.told(&task, &parent, &agent))
    }

    /// Opens the task that `asked` is for, and names it.
    pub(crate) async fn hand_on(
        &self,
        caller: &Caller,
        thumbprint: Thumbprint,
        asked: Asked,
    ) -> Result<TaskId, Refusal> {
        let Asked { parent, agent, intent, opened_with } = asked;
        let request = DelegateTask {
            by: caller.agent.clone(),
            thumbprint,
            parent: parent.clone(),
            agent: agent.clone(),
            intent,
            opened_with,
        };
        let delegated = self.broker.delegate_task(request).await;
        let (task, _) = delegated.map_err(|error| {
            tracing::info!(agent = %caller.agent, %error, "a delegation was refused");
            refusal_of(&error)
        })?;
        tracing::info!(agent = %caller.agent, %parent, %task, to = %agent, "task handed on");
        Ok(task)
    }

    /// What there is now.
    pub(crate) fn told(&self, task: &TaskId, parent: &TaskId, agent: &AgentName) -> Value {
        let view = self.broker.view();
        let held = view.snapshot.task(task);
        let grants = held.map(|held| held.grants.as_slice()).unwrap_or_default();
        let grants = grants.iter().map(|grant| {
            json!({
                "grant": grant.id, "action": grant.allowance.action,
                "path": grant.allowance.path, "state": grant.state.as_str(),
            })
        });
        let now = self.broker.now().wall;
        let left_s = held.map(|held| held.task.deadline.s().saturating_sub(now.s()));
        json!({
            "task": task, "agent": agent, "parent": parent, "expires_in": left_s,
            "grants": grants.collect::<Vec<_>>(),
        })
    }
}

/// What a request asks for.
pub(crate) struct Asked {
    pub(crate) parent: TaskId,
    pub(crate) agent: AgentName,
    pub(crate) intent: Intent,
    /// The name of the token it is asked for with, where it is with one.
    pub(crate) opened_with: Option<String>,
}

impl Asked {
    fn read(form: &Form) -> Result<Self, Refusal> {
        let parent = form.get("task").and_then(|task| task.parse().ok());
        let parent =
            parent.ok_or(malformed("task_malformed", "name the task to hand on in task"))?;
        let agent = form.get("agent").and_then(|agent| agent.parse().ok());
        let agent = agent.ok_or(malformed("agent_malformed", "name who is to do it in agent"))?;
        let intent = form.get("intent").unwrap_or_default();
        let intent = Intent::from_json(intent.as_bytes()).map_err(|error| {
            malformed("intent_malformed", INTENT_ADVICE).with_detail(error.to_string())
        })?;
        Ok(Self { parent, agent, intent, opened_with: None })
    }
}

pub(crate) const INTENT_ADVICE: &str =
    "send in intent, as a JSON object, what the child task will do";

const fn malformed(code: &'static str, advice: &'static str) -> Refusal {
    Refusal::new(Kind::InvalidRequest, code, advice)
}

/// What the broker refused. What is said of the agent's own intent and its own task is told.
fn refusal_of(error: &BrokerError) -> Refusal {
    match error {
        BrokerError::NotAPart(why) => {
            let refusal = Refusal::for_reason(Kind::InvalidDetails, Reason::NotAPart);
            refusal.with_detail(why.to_string())
        }
        BrokerError::Invalid { .. } => {
            let advice = "change the intent and send it again";
            let refusal = Refusal::new(Kind::InvalidDetails, "intent_invalid", advice);
            refusal.with_detail(error.to_string())
        }
        BrokerError::Missing { .. } => {
            malformed("agent_unknown", "the agent to hand on to is not registered, or has no owner")
        }
        _ => Refusal::of_broker(error, Kind::InvalidClient, NamedIn::Details),
    }
}
