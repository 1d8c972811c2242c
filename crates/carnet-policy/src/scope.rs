//! Policies filed by scope, so that a request meets only those that could match it.
//!
//! Each policy lies under one key: the entity its resource scope names, else that of its principal
//! scope, else its actions, else none. A scope that names an entity matches only requests that have
//! the entity among principal, action, resource and their ancestors; so a request that looks up
//! all of those, and the policies under no key, misses nothing. Cedar's answer does not depend on
//! the order of policies, so the parts can be evaluated one by one and united.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, EntityUid, EvaluationError, Policy,
    PolicySet, PrincipalConstraint, ResourceConstraint,
};

use crate::question::Question;

/// What evaluating one tier found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The ids of the policies that are satisfied.
    pub(crate) satisfied: BTreeSet<String>,
    /// The policies that failed, and why.
    pub(crate) failed: BTreeMap<String, &'static str>,
}

/// The policies of one tier.
#[derive(Default)]
pub(crate) struct ScopeIndex {
    unscoped: PolicySet,
    keyed: HashMap<EntityUid, PolicySet>,
}

impl ScopeIndex {
    /// Files `policy`.
    pub(crate) fn add(&mut self, policy: &Policy) -> Result<(), String> {
        let keys = scope_keys(policy);
        if keys.is_empty() {
            return self.unscoped.add(policy.clone()).map_err(|e| e.to_string());
        }
        keys.into_iter().try_for_each(|key| {
            self.keyed.entry(key).or_default().add(policy.clone()).map_err(|e| e.to_string())
        })
    }

    /// The policies that `question` satisfies, and those that fail on it.
    pub(crate) fn evaluate(&self, authorizer: &Authorizer, question: &Question) -> Found {
        let mut found = Found::default();
        if !self.unscoped.is_empty() {
            evaluate_set(authorizer, &self.unscoped, question, &mut found);
        }
        for set in question.keys().filter_map(|key| self.keyed.get(key)) {
            evaluate_set(authorizer, set, question, &mut found);
        }
        found
    }
}

/// Adds to `found` what evaluating all of `set` finds. All policies of a tier have one effect, so
/// the reasons Cedar gives are exactly the satisfied policies.
pub(crate) fn evaluate_set(
    authorizer: &Authorizer,
    set: &PolicySet,
    question: &Question,
    found: &mut Found,
) {
    let response = authorizer.is_authorized(&question.request, set, &question.entities);
    let id = |id: &cedar_policy::PolicyId| AsRef::<str>::as_ref(id).to_owned();
    found.satisfied.extend(response.diagnostics().reason().map(id));
    for error in response.diagnostics().errors() {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        found.failed.insert(id(error.policy_id()), failure(error.inner()));
    }
}

/// The keys a policy is filed under; none where its scope names no entity.
pub(crate) fn scope_keys(policy: &Policy) -> Vec<EntityUid> {
    match policy.resource_constraint() {
        ResourceConstraint::Eq(uid)
        | ResourceConstraint::In(uid)
        | ResourceConstraint::IsIn(_, uid) => return vec![uid],
        ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
    }
    match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid)
        | PrincipalConstraint::In(uid)
        | PrincipalConstraint::IsIn(_, uid) => return vec![uid],
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
    }
    match policy.action_constraint() {
        ActionConstraint::Eq(uid) => vec![uid],
        ActionConstraint::In(mut uids) => {
            uids.sort();
            uids.dedup();
            uids
        }
        ActionConstraint::Any => Vec::new(),
    }
}

/// Why a policy failed, in words that hold nothing of the request: they go into the record.
fn failure(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::EntityDoesNotExist(_) => "reads an entity that is not there",
        EvaluationError::EntityAttrDoesNotExist(_) => "reads an attribute or tag that is not there",
        EvaluationError::RecordAttrDoesNotExist(_) => "reads a fact that is not there",
        EvaluationError::TypeError(_) => "compares values of different types",
        EvaluationError::IntegerOverflow(_) => "computes a number out of range",
        EvaluationError::RecursionLimit(_) => "nests too deep to be evaluated here",
        EvaluationError::FailedExtensionFunctionExecution(_)
        | EvaluationError::FailedExtensionFunctionLookup(_)
        | EvaluationError::WrongNumArguments(_) => "calls a function that fails",
        _ => "cannot be evaluated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(scope: &str) -> Vec<String> {
        let policy: Policy = format!("permit({scope});").parse().unwrap();
        scope_keys(&policy).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_policy_lies_under_its_resource_else_its_principal_else_its_actions() {
        assert_eq!(
            keys(r#"principal == A::"p", action == Action::"a", resource in R::"r""#),
            [r#"R::"r""#]
        );
        assert_eq!(
            keys(r#"principal is A in T::"t", action == Action::"a", resource is R"#),
            [r#"T::"t""#]
        );
        assert_eq!(
            keys(r#"principal is A, action in [Action::"b", Action::"a", Action::"a"], resource"#),
            [r#"Action::"a""#, r#"Action::"b""#]
        );
        assert_eq!(keys("principal is A, action, resource is R"), [""; 0]);
    }
}
