//! What an operator may do: judged by the policy set in force, like everything else.

use axum::http::StatusCode;
use carnet_core::{
    ApprovalFacts, Arguments, Document, Policy, Principal, Target, UserName, Verb, Verdict,
    VerdictEffect,
};

use super::{Desk, Failure, Operator};

impl Desk {
    /// Permits `operator` to do `verb` to the house, or says why not.
    pub(crate) fn authorize(&self, operator: &Operator, verb: Verb) -> Result<(), Failure> {
        // The first set, and one in place of a set that cannot be loaded: nothing could permit it.
        if verb == Verb::PolicyActivate && !self.broker.is_policy_loaded() {
            return Ok(());
        }
        let view = self.broker.view();
        let Some(verdict) = self.judged(&*view.policy, &operator.0, verb) else {
            return Err(refused(operator, verb, "they are not a known user"));
        };
        match verdict.effect {
            VerdictEffect::Permit => Ok(()),
            // Nobody is asked for leave to operate the house: a second person is asked to do it.
            VerdictEffect::Deny | VerdictEffect::Ask(_) => {
                Err(refused(operator, verb, &because(&verdict)))
            }
        }
    }

    /// Whether some operator could put another set in force while `policy` is. A set that lets
    /// nobody could be taken back once, and the first one never.
    pub(crate) fn leaves_a_way_out(&self, policy: &dyn Policy) -> bool {
        let mut operators = self.operators.iter();
        operators.any(|user| {
            let verdict = self.judged(policy, user, Verb::PolicyActivate);
            verdict.is_some_and(|verdict| verdict.effect == VerdictEffect::Permit)
        })
    }

    /// What `policy` says to `user` doing `verb` to the house; nothing to who is not known.
    fn judged(&self, policy: &dyn Policy, user: &UserName, verb: Verb) -> Option<Verdict> {
        let view = self.broker.view();
        let principal = view.snapshot.principal_facts(&Principal::User(user.clone()))?;
        Some(policy.judge(&Document {
            principal,
            verb,
            target: Target::House,
            task: None,
            approvals: ApprovalFacts::default(),
            arguments: Arguments::default(),
            now: self.broker.now().wall,
        }))
    }
}

fn because(verdict: &Verdict) -> String {
    match (verdict.determining.as_slice(), verdict.errors.first()) {
        ([], Some(error)) => error.message.clone(),
        ([], None) => "no policy permits it".to_owned(),
        (ids, _) => format!("policy {ids:?} does not let them"),
    }
}

fn refused(operator: &Operator, verb: Verb, why: &str) -> Failure {
    let message = format!("{} may not {}: {why}", operator.0, verb.as_str());
    Failure::new(StatusCode::FORBIDDEN, "not_permitted", message)
}
