//! What a task will hold: every allowance is judged for every operation it matches, before anything
//! is written.

use carnet_core::{
    Allowance, ApprovalFacts, ApprovalTerms, Approve, Arguments, Document, GrantId, Intent,
    Principal, Reason, Registered, Resource, Snapshot, Target, Task, Timestamp, Verb, Verdict,
    VerdictEffect, View, on_use_terms, task_facts,
};

use crate::error::BrokerError;

/// A grant as it will stand, and whom to ask where a person must approve it first.
pub(crate) struct Planned {
    pub(crate) allowance: Allowance,
    pub(crate) terms: Option<ApprovalTerms>,
    /// When it ends by itself.
    pub(crate) expires: Timestamp,
    /// The grant it is cut from, where it is handed on.
    pub(crate) cut_from: Option<GrantId>,
}

/// Who gives a task what it will hold, and the verb policy must permit them for that.
pub(crate) struct Giver<'a> {
    pub(crate) view: &'a View,
    pub(crate) by: Principal,
    pub(crate) verb: Verb,
    /// The task as it will be.
    pub(crate) task: &'a Task,
    pub(crate) now: Timestamp,
}

impl Giver<'_> {
    /// Whom to ask for each allowance of `intent`, in its order.
    pub(crate) fn terms(&self, intent: &Intent) -> Result<Vec<Option<ApprovalTerms>>, BrokerError> {
        let allowances = intent.allowances.iter().enumerate();
        allowances.map(|(index, allowance)| self.terms_of(index, allowance)).collect()
    }

    fn terms_of(
        &self,
        index: usize,
        allowance: &Allowance,
    ) -> Result<Option<ApprovalTerms>, BrokerError> {
        let mut asked: Option<ApprovalTerms> = None;
        let mut matched = false;
        for (resource, registered) in matching(&self.view.snapshot, allowance) {
            matched = true;
            let verdict = self.view.policy.judge(&self.document(resource, registered)?);
            match verdict.effect {
                VerdictEffect::Permit => {}
                VerdictEffect::Ask(terms) if asked.as_ref().is_none_or(|known| *known == terms) => {
                    asked = Some(terms);
                }
                VerdictEffect::Ask(_) => {
                    let problem =
                        "different people must approve different operations it matches: split it";
                    return Err(BrokerError::invalid(format!("allow[{index}].action"), problem));
                }
                VerdictEffect::Deny => return Err(self.denied(index, registered, &verdict)),
            }
        }
        if !matched {
            let problem = format!(
                "`{}` matches no reviewed operation on the {} path: see `carnet resource show`, or review it first",
                allowance.action, allowance.path
            );
            return Err(BrokerError::invalid(format!("allow[{index}].action"), problem));
        }
        let is_asked_anyway = asked.is_none() && allowance.approve == Approve::UpFront;
        Ok(if is_asked_anyway { Some(on_use_terms()) } else { asked })
    }

    fn document(
        &self,
        resource: &Resource,
        registered: &Registered,
    ) -> Result<Document, BrokerError> {
        let principal = self.view.snapshot.principal_facts(&self.by).ok_or_else(|| {
            BrokerError::refused(Reason::AgentUnknown, format!("{} is not known", self.by))
        })?;
        Ok(Document {
            principal,
            verb: self.verb,
            target: Target::operation(resource, registered),
            task: Some(task_facts(&self.view.snapshot, self.task, None)),
            approvals: ApprovalFacts::default(),
            arguments: Arguments::default(),
            now: self.now,
        })
    }

    fn denied(&self, index: usize, registered: &Registered, verdict: &Verdict) -> BrokerError {
        let because = match verdict.determining.as_slice() {
            [] => "no policy permits it".to_owned(),
            ids => format!("policy {ids:?} forbids it"),
        };
        let reason = match verdict.determining.is_empty() {
            true => Reason::PolicyDoesNotPermit,
            false => Reason::PolicyForbids,
        };
        let given = match self.verb {
            Verb::TaskDelegate => "hand on to",
            _ => "open a task of",
        };
        let (by, task, action) = (&self.by, self.task, &registered.action);
        BrokerError::refused(
            reason,
            format!(
                "allow[{index}]: {by} may not {given} {} {action} with the purpose {}: {because}",
                task.agent, task.purpose
            ),
        )
    }
}

/// The reviewed operations `allowance` speaks of.
pub(crate) fn matching<'a>(
    snapshot: &'a Snapshot,
    allowance: &'a Allowance,
) -> impl Iterator<Item = (&'a Resource, &'a Registered)> {
    snapshot.resources.values().flat_map(move |resource| {
        let operations = resource.operations.values();
        let matching = operations.filter(|registered| {
            registered.path == allowance.path && allowance.action.matches(&registered.action)
        });
        matching.map(move |registered| (&**resource, registered))
    })
}
