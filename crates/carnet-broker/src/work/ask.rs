//! Asking people: one question, bound to a digest of exactly what is asked.

use std::time::Duration;

use carnet_core::{
    Approval, ApprovalId, ApprovalState, ApprovalTerms, Asked, DecisionId, Digest, Grant,
    InstanceId, Operation, QUESTIONS_PENDING_MAX, Question, Reason, TaskId, Timestamp,
};
use carnet_core::{GrantId, Principal};
use carnet_ledger::Sealed;
use serde_json::json;

use crate::broker::Broker;
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;

/// For how long the same call is refused after a person said no to it.
const DENIED_FOR_S: i64 = 300;

/// An operation that needs a person's yes.
#[derive(Debug, Clone)]
pub struct AskUse {
    /// The decision that asked.
    pub decision: DecisionId,
    /// The task.
    pub task: TaskId,
    /// The agent's running copy.
    pub instance: InstanceId,
    /// In whose name the record is written.
    pub agent: carnet_core::AgentName,
    /// What is to be done.
    pub operation: Operation,
    /// Who must be asked.
    pub terms: ApprovalTerms,
    /// The policy set that asked.
    pub policy: Digest,
    /// The grant it draws on, where an allowance is approved at each use.
    pub draws_on: Option<GrantId>,
}

impl Broker {
    /// Puts the question, or finds the one that already waits for exactly this.
    pub async fn ask(&self, ask: AskUse) -> Result<ApprovalId, BrokerError> {
        let by = Principal::Agent(ask.agent.clone());
        let lane = self.lanes.enter(&Some(&ask.task)).await;
        let (id, made) = self
            .commit(&by, |state, draft, now| {
                check_askable(state, &ask, now)?;
                if let Some(known) = same_question(state, &ask, now)? {
                    return Ok(known);
                }
                check_questions(state, &ask.task, 1)?;
                let approval = question(&ask, now)?;
                let id = approval.id.clone();
                put(draft, approval, "asked")?;
                Ok(id)
            })
            .await?;
        self.follow_in_lane(&made, lane).await?;
        self.take_effect(made).await?;
        Ok(id)
    }

    /// Waits at most `hold` for people to answer, and tells where the question stands.
    pub async fn await_answer(
        &self,
        id: &ApprovalId,
        hold: Duration,
    ) -> Result<ApprovalState, BrokerError> {
        let mut revisions = self.revisions();
        let deadline = tokio::time::Instant::now() + hold;
        loop {
            let approval = self.approval(id)?;
            if !approval.is_pending(self.now().wall) {
                return Ok(approval.state);
            }
            let changed = tokio::time::timeout_at(deadline, revisions.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Ok(approval.state);
            }
        }
    }

    /// The approval with `id`, as far as it is in force: a yes whose record is not durable yet is not.
    pub fn approval(&self, id: &ApprovalId) -> Result<std::sync::Arc<Approval>, BrokerError> {
        let known = self.in_force(|state| state.approvals.get(id).cloned());
        known.ok_or_else(|| BrokerError::Missing {
            kind: "approval",
            id: id.to_string(),
            hint: "its task is over, or it never existed; see `carnet approvals`",
        })
    }

    /// The approvals that wait for people.
    pub fn pending_approvals(&self) -> Vec<std::sync::Arc<Approval>> {
        let now = self.now().wall;
        self.in_force(|state| state.pending_approvals(now))
    }
}

/// A question is put for a task that is live and the asker's own.
fn check_askable(state: &State, ask: &AskUse, now: Timestamp) -> Result<(), BrokerError> {
    let why = |reason| BrokerError::refused(reason, format!("{} is not live any more", ask.task));
    let view = state.snapshot.check_task(&ask.task, now).map_err(why)?;
    match view.task.agent == ask.agent {
        true => Ok(()),
        false => Err(why(Reason::TaskOfAnother)),
    }
}

/// The question that already waits for exactly this. One that a person said no to a moment ago is
/// a refusal, so that asking again wears nobody out.
fn same_question(
    state: &State,
    ask: &AskUse,
    now: Timestamp,
) -> Result<Option<ApprovalId>, BrokerError> {
    let tree = state.tree(&ask.task);
    for approval in state.approvals.values() {
        if !tree.contains(&approval.question.task) || !is_about(approval, ask) {
            continue;
        }
        if approval.is_pending(now) && is_by(approval, ask) {
            return Ok(Some(approval.id.clone()));
        }
        let last = approval.answers.last().map(|answer| answer.at);
        let recently = last.is_some_and(|at| now < at.plus_s(DENIED_FOR_S));
        if approval.state == ApprovalState::Denied && recently {
            let detail = format!("a person said no to exactly this call: see {}", approval.id);
            return Err(BrokerError::refused(Reason::ApprovalDenied, detail));
        }
    }
    Ok(None)
}

fn is_about(approval: &Approval, ask: &AskUse) -> bool {
    let Asked::Use { action, pin, arguments, draws_on, .. } = &approval.question.of else {
        return false;
    };
    let is_same_draw = *draws_on == ask.draws_on || !is_by(approval, ask);
    *action == *ask.operation.action()
        && *pin == ask.operation.pin()
        && *arguments == *ask.operation.arguments()
        && is_same_draw
}

/// Whether the same running copy asked it in the same task.
fn is_by(approval: &Approval, ask: &AskUse) -> bool {
    approval.question.task == ask.task && approval.question.instance.as_ref() == Some(&ask.instance)
}

/// Whether `more` questions may be put in the tree of `task`: reviewers are not worn out by handing
/// work on.
pub(crate) fn check_questions(
    state: &State,
    task: &TaskId,
    more: usize,
) -> Result<(), BrokerError> {
    let waiting = state.asked_in_tree(task);
    if waiting + more <= usize::try_from(QUESTIONS_PENDING_MAX).unwrap_or(0) {
        return Ok(());
    }
    let detail = format!("{waiting} questions wait already in the tree of {task}");
    Err(BrokerError::refused(Reason::QuestionsPending, detail))
}

fn question(ask: &AskUse, now: Timestamp) -> Result<Approval, BrokerError> {
    let operation = &ask.operation;
    let of = Asked::Use {
        action: operation.action().clone(),
        resource: operation.resource().clone(),
        path: operation.path(),
        effect: operation.effect(),
        pin: operation.pin(),
        arguments: operation.arguments().clone(),
        draws_on: ask.draws_on.clone(),
    };
    let instance = Some(ask.instance.clone());
    let decision = Some(ask.decision.clone());
    approval(ask.task.clone(), instance, of, ask.terms.clone(), decision, ask.policy, now)
}

/// The question whether an allowance may be live, put before any untrusted data is read.
pub(crate) fn up_front(
    grant: &Grant,
    terms: ApprovalTerms,
    policy: Digest,
    now: Timestamp,
) -> Result<Approval, BrokerError> {
    let of =
        Asked::Allowance { grant: grant.id.clone(), allowance: Box::new(grant.allowance.clone()) };
    approval(grant.task.clone(), None, of, terms, None, policy, now)
}

fn approval(
    task: TaskId,
    instance: Option<InstanceId>,
    of: Asked,
    terms: ApprovalTerms,
    decision: Option<DecisionId>,
    policy: Digest,
    now: Timestamp,
) -> Result<Approval, BrokerError> {
    let expires = now.plus_s(i64::from(terms.timeout_s));
    let nonce = format!("{:032x}", uuid::Uuid::new_v4().as_u128());
    let question = Question { task, instance, of, nonce, expires };
    Ok(Approval {
        id: ApprovalId::from_bits(fresh_bits()),
        digest: question.digest()?,
        question,
        terms,
        decision,
        policy,
        asked_at: now,
        expires,
        answers: Vec::new(),
        state: ApprovalState::Asked,
    })
}

/// Writes a new question with its record.
pub(crate) fn put(
    draft: &mut Draft<'_>,
    approval: Approval,
    transition: &str,
) -> Result<(), BrokerError> {
    let details = json!({
        "task": approval.question.task, "digest": approval.digest, "decision": approval.decision,
        "threshold": approval.terms.threshold, "expires_us": approval.expires,
    });
    let value = serde_json::to_value(&approval.question).unwrap_or_default();
    let sealed = vec![Sealed { name: "question".into(), value }];
    let subject = format!("task:{}", approval.question.task);
    draft.widens();
    let kind = carnet_ledger::Kind::Approval;
    draft.record(kind, approval.id.as_str(), transition, false, &details, Some((&subject, sealed)));
    draft.put(Item::Approval(Box::new(approval)))
}
