//! Why a verdict is what it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use carnet_core::{Document, PolicyId, Verdict, VerdictEffect};
use cedar_policy::pst::{
    ActionConstraint as AnyAction, BinaryOp, Clause, Effect, Expr, Policy as Tree, PolicyID,
    PrincipalConstraint as AnyPrincipal, ResourceConstraint as AnyResource, StaticPolicy, Template,
    UnaryOp,
};
use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PolicySet, PrincipalConstraint,
    ResourceConstraint,
};
use serde::Serialize;

use crate::cedar::CedarPolicy;
use crate::question::Question;
use crate::rule::{Rule, Tier};
use crate::scope::{Found, evaluate_set};

/// The most near misses that are told.
const NEAREST_MAX: usize = 5;
/// The most parts of one policy's conditions that are looked at one by one.
const PARTS_MAX: usize = 64;

/// A policy as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedPolicy {
    /// Its `@id`.
    pub id: PolicyId,
    /// Its tier.
    pub tier: Tier,
    /// Its file.
    pub file: String,
    /// Its line.
    pub line: u32,
    /// Its column.
    pub column: u32,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its text.
    pub text: String,
}

/// A permit that did not match, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The permit.
    pub policy: ExplainedPolicy,
    /// What did not hold: parts of its scope, else the first part of its conditions.
    pub failed: Vec<String>,
}

/// A verdict and the policies behind it. For operators: it shows policy text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// The policies that determined it.
    pub determining: Vec<ExplainedPolicy>,
    /// Where nothing permits: the permits that come nearest, nearest first.
    pub nearest: Vec<NearMiss>,
}

impl CedarPolicy {
    /// The verdict on `document`, with the policies that determined it; and where no policy permits
    /// it, the permits that come nearest and what they miss.
    pub fn explain(&self, document: &Document) -> Explanation {
        let question = match Question::of(self.vocabulary, document) {
            Ok(question) => question,
            Err(why) => {
                let verdict = Verdict::failed(why);
                return Explanation { verdict, determining: Vec::new(), nearest: Vec::new() };
            }
        };
        let verdict = self.answer(&question, document);
        let determining =
            verdict.determining.iter().filter_map(|id| self.rules.get(id.as_str())).map(explained);
        let determining: Vec<ExplainedPolicy> = determining.collect();
        let unpermitted = verdict.effect == VerdictEffect::Deny && determining.is_empty();
        let nearest = if unpermitted { self.nearest(&question) } else { Vec::new() };
        Explanation { verdict, determining, nearest }
    }

    fn nearest(&self, question: &Question) -> Vec<NearMiss> {
        let permits = self.rules.values().filter(|rule| rule.tier == Tier::Permit);
        let mut missed: Vec<(Vec<String>, &Rule)> =
            permits.map(|rule| (scope_misses(&rule.policy, question), rule)).collect();
        missed.sort_by_key(|(failed, rule)| (failed.len(), rule.id.clone()));
        // A permit with nothing in common with the request is not near.
        let near = missed.into_iter().filter(|(failed, _)| failed.len() < 3).take(NEAREST_MAX);
        near.map(|(failed, rule)| {
            let failed = if failed.is_empty() {
                self.condition_miss(&rule.policy, question)
            } else {
                failed
            };
            NearMiss { policy: explained(rule), failed }
        })
        .collect()
    }

    /// The first part of the conditions that does not hold. Parts stand before the parts they
    /// guard, so that the first is the one to look at.
    fn condition_miss(&self, policy: &Policy, question: &Question) -> Vec<String> {
        let Ok(Tree::Static(tree)) = policy.to_pst() else { return Vec::new() };
        let mut parts = Vec::new();
        for clause in tree.body().clauses() {
            match clause {
                Clause::When(expr) => split(expr, &mut parts),
                Clause::Unless(expr) => {
                    parts.push(Arc::new(Expr::UnaryOp { op: UnaryOp::Not, expr: expr.clone() }));
                }
            }
        }
        let missed = parts.iter().take(PARTS_MAX).find(|part| !self.holds(part, question));
        missed.map(|part| format!("condition: {part}")).into_iter().collect()
    }

    fn holds(&self, part: &Arc<Expr>, question: &Question) -> bool {
        let body = Template::new(
            PolicyID("part".into()),
            Effect::Permit,
            AnyPrincipal::Any,
            AnyAction::Any,
            AnyResource::Any,
        );
        let tree = body.try_with_clauses([Clause::When(part.clone())]).ok();
        let tree = tree.and_then(|body| StaticPolicy::try_from(body).ok()).map(Tree::Static);
        let set = tree
            .and_then(|tree| Policy::from_pst(tree).ok())
            .and_then(|policy| PolicySet::from_policies([policy]).ok());
        let mut found = Found::default();
        if let Some(set) = set {
            evaluate_set(&self.authorizer, &set, question, &mut found);
        }
        !found.satisfied.is_empty()
    }
}

fn explained(rule: &Rule) -> ExplainedPolicy {
    ExplainedPolicy {
        id: rule.id.clone(),
        tier: rule.tier,
        file: rule.file.clone(),
        line: rule.line,
        column: rule.column,
        annotations: rule.annotations.clone(),
        text: rule.policy.to_cedar().unwrap_or_default(),
    }
}

/// The operands of a chain of `&&`, in order.
fn split(expr: &Arc<Expr>, parts: &mut Vec<Arc<Expr>>) {
    match expr.as_ref() {
        Expr::BinaryOp { op: BinaryOp::And, left, right } => {
            split(left, parts);
            split(right, parts);
        }
        _ => parts.push(expr.clone()),
    }
}

/// The parts of a policy's scope that `question` is outside of.
fn scope_misses(policy: &Policy, question: &Question) -> Vec<String> {
    let misses = [
        principal_miss(policy.principal_constraint(), &question.principal_keys),
        action_miss(policy.action_constraint(), question.action_keys),
        resource_miss(policy.resource_constraint(), &question.resource_keys),
    ];
    misses.into_iter().flatten().collect()
}

/// `keys` is an entity and then its ancestors.
fn is_in(keys: &[EntityUid], uid: &EntityUid) -> bool {
    keys.contains(uid)
}

fn is_of(keys: &[EntityUid], kind: &EntityTypeName) -> bool {
    keys.first().is_some_and(|own| own.type_name() == kind)
}

fn principal_miss(constraint: PrincipalConstraint, keys: &[EntityUid]) -> Option<String> {
    use PrincipalConstraint::{Any, Eq, In, Is, IsIn};
    let (holds, text) = match constraint {
        Any => return None,
        Eq(uid) => (keys.first() == Some(&uid), format!("principal == {uid}")),
        In(uid) => (is_in(keys, &uid), format!("principal in {uid}")),
        Is(kind) => (is_of(keys, &kind), format!("principal is {kind}")),
        IsIn(kind, uid) => {
            (is_of(keys, &kind) && is_in(keys, &uid), format!("principal is {kind} in {uid}"))
        }
    };
    (!holds).then_some(text)
}

fn resource_miss(constraint: ResourceConstraint, keys: &[EntityUid]) -> Option<String> {
    use ResourceConstraint::{Any, Eq, In, Is, IsIn};
    let (holds, text) = match constraint {
        Any => return None,
        Eq(uid) => (keys.first() == Some(&uid), format!("resource == {uid}")),
        In(uid) => (is_in(keys, &uid), format!("resource in {uid}")),
        Is(kind) => (is_of(keys, &kind), format!("resource is {kind}")),
        IsIn(kind, uid) => {
            (is_of(keys, &kind) && is_in(keys, &uid), format!("resource is {kind} in {uid}"))
        }
    };
    (!holds).then_some(text)
}

fn action_miss(constraint: ActionConstraint, keys: &[EntityUid]) -> Option<String> {
    let (holds, text) = match constraint {
        ActionConstraint::Any => return None,
        ActionConstraint::Eq(uid) => (keys.first() == Some(&uid), format!("action == {uid}")),
        ActionConstraint::In(uids) => {
            let holds = uids.iter().any(|uid| is_in(keys, uid));
            let uids: Vec<String> = uids.iter().map(ToString::to_string).collect();
            (holds, format!("action in [{}]", uids.join(", ")))
        }
    };
    (!holds).then_some(text)
}
