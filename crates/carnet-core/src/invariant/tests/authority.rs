//! Authority never exceeds what the task was granted and what policy permits.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::super::check_decision;
use crate::fixture::{self, NOW};
use crate::*;

const ACTIONS: &[(&str, Path)] = &[("get_ticket", Path::Read), ("issue_refund", Path::Write)];
const AMOUNTS: std::ops::Range<i64> = 0..4;

/// A policy that is a set: what it permits, and what it wants a person for.
#[derive(Debug, Clone)]
struct Listed {
    permitted: BTreeSet<(String, i64)>,
    asked: BTreeSet<(String, i64)>,
}

fn point(action: &ActionName, arguments: &Arguments) -> (String, i64) {
    let amount = arguments.value("amount_cents").and_then(Value::as_i64).unwrap();
    (action.to_string(), amount)
}

impl Policy for Listed {
    fn digest(&self) -> Digest {
        Digest::of(b"listed")
    }
    fn judge(&self, document: &Document) -> Verdict {
        let Target::Operation { action, .. } = &document.target else { panic!() };
        let point = point(action, &document.arguments);
        let effect = match (self.permitted.contains(&point), self.asked.contains(&point)) {
            (false, _) => VerdictEffect::Deny,
            (true, false) => VerdictEffect::Permit,
            (true, true) => VerdictEffect::Ask(fixture::terms(&["team:finance"], 1)),
        };
        fixture::verdict(effect)
    }
}

fn points() -> impl Strategy<Value = BTreeSet<(String, i64)>> {
    let all: Vec<_> = ACTIONS
        .iter()
        .flat_map(|(name, _)| AMOUNTS.map(move |amount| (format!("desk.tool.{name}"), amount)))
        .collect();
    let most = all.len();
    proptest::sample::subsequence(all, 0..=most).prop_map(|points| points.into_iter().collect())
}

fn policies() -> impl Strategy<Value = Listed> {
    (points(), points()).prop_map(|(permitted, asked)| Listed { permitted, asked })
}

/// A grant as plain facts, so that what it covers can be said a second way.
#[derive(Debug, Clone)]
struct Plain {
    action: usize,
    at_most: i64,
    uses: Option<u64>,
    spent: u64,
    approve: &'static str,
    approved_by: Option<&'static str>,
    state: GrantState,
    is_expired: bool,
}

fn plain_grants() -> impl Strategy<Value = Plain> {
    let states = vec![GrantState::Active, GrantState::Active, GrantState::Revoked];
    let bounds = (AMOUNTS, proptest::option::of(1_u64..3), 0_u64..3);
    let approving = (select(&["none", "on_use"][..]), select(&[None, Some("bo"), Some("ana")][..]));
    (0..ACTIONS.len(), bounds, approving, (select(states), proptest::bool::weighted(0.2))).prop_map(
        |(action, (at_most, uses, spent), (approve, approved_by), (state, is_expired))| Plain {
            action,
            at_most,
            spent: spent.min(uses.unwrap_or(0)),
            uses,
            approve,
            approved_by,
            state,
            is_expired,
        },
    )
}

impl Plain {
    fn grant(&self, n: usize) -> Grant {
        let (name, path) = ACTIONS[self.action];
        let mut value = json!({
            "action": format!("desk.tool.{name}"), "path": path, "approve": self.approve,
            "where": { "amount_cents": { "at_most": self.at_most } },
        });
        if let Some(uses) = self.uses {
            value["uses"] = json!(uses);
        }
        let mut grant = fixture::grant(&format!("grant_{n}"), fixture::allowance(value));
        grant.uses_spent = self.spent;
        grant.state = self.state.clone();
        if self.is_expired {
            grant.expires = NOW.wall;
        }
        grant.approved = self.approved_by.map(|by| Approved {
            approval: ApprovalId::from_bits(n as u128),
            by: vec![by.parse().unwrap()],
            instance: None,
        });
        grant
    }

    fn covers(&self, action: usize, amount: i64) -> bool {
        self.action == action
            && amount <= self.at_most
            && self.state == GrantState::Active
            && !self.is_expired
            && self.uses.is_none_or(|uses| self.spent < uses)
    }

    /// Whether a use of it needs nobody but whom policy names.
    fn is_ready(&self) -> bool {
        self.approve == "none" || self.approved_by.is_some()
    }
}

fn judge(grants: &[Plain], policy: &Listed, action: usize, amount: i64) -> (Snapshot, Decision) {
    let grants = grants.iter().enumerate().map(|(n, plain)| plain.grant(n)).collect();
    let snapshot = fixture::snapshot(grants);
    let (name, path) = ACTIONS[action];
    let operation = fixture::operation(name, json!({ "amount_cents": amount }));
    let caller = fixture::caller(path);
    let decision = assess(&snapshot, policy, &operation, &caller, NOW);
    check_decision(&snapshot, &operation, &caller, NOW, &decision).unwrap();
    (snapshot, decision)
}

/// What the answer must be, said without the code that decides.
fn expected(grants: &[Plain], policy: &Listed, action: usize, amount: i64) -> DecisionKind {
    let point = (format!("desk.tool.{}", ACTIONS[action].0), amount);
    if !policy.permitted.contains(&point) {
        return DecisionKind::Deny;
    }
    let covering: Vec<_> = grants.iter().filter(|grant| grant.covers(action, amount)).collect();
    // ana is the subject and of no named team: only bo's yes meets what policy asks for.
    let chosen = covering.iter().find(|grant| grant.approved_by.is_some());
    let is_asked = policy.asked.contains(&point);
    match (covering.is_empty(), is_asked) {
        (true, false) => DecisionKind::Deny,
        (true, true) => DecisionKind::Ask,
        (false, true) if chosen.is_some_and(|grant| grant.approved_by == Some("bo")) => {
            DecisionKind::Permit
        }
        (false, true) => DecisionKind::Ask,
        (false, false) if covering.iter().any(|grant| grant.is_ready()) => DecisionKind::Permit,
        (false, false) => DecisionKind::Ask,
    }
}

#[test]
fn authority_never_exceeds_what_was_granted_and_what_policy_permits() {
    let permits = Cell::new(0);
    let inputs =
        (proptest::collection::vec(plain_grants(), 0..4), policies(), 0..ACTIONS.len(), AMOUNTS);
    let mut runner = TestRunner::new(Config { cases: 2_000, ..Config::default() });
    runner
        .run(&inputs, |(grants, policy, action, amount)| {
            let (_, decision) = judge(&grants, &policy, action, amount);
            prop_assert_eq!(decision.kind, expected(&grants, &policy, action, amount));
            permits.set(permits.get() + u32::from(decision.kind == DecisionKind::Permit));
            Ok(())
        })
        .unwrap();
    assert!(permits.get() > 20, "{} permits: the test says nothing", permits.get());
}

proptest! {
    #[test]
    fn the_same_inputs_give_the_same_bytes(
        grants in proptest::collection::vec(plain_grants(), 0..4),
        policy in policies(), action in 0..ACTIONS.len(), amount in AMOUNTS,
    ) {
        let once = serde_json::to_vec(&judge(&grants, &policy, action, amount).1).unwrap();
        let again = serde_json::to_vec(&judge(&grants, &policy, action, amount).1).unwrap();
        prop_assert_eq!(once, again);
    }

    #[test]
    fn a_stale_view_permits_nothing(
        grants in proptest::collection::vec(plain_grants(), 0..4),
        policy in policies(), action in 0..ACTIONS.len(), amount in AMOUNTS, late_us in 0_u64..1_000,
    ) {
        let (snapshot, _) = judge(&grants, &policy, action, amount);
        let (name, path) = ACTIONS[action];
        let operation = fixture::operation(name, json!({ "amount_cents": amount }));
        let now = Now { mono: snapshot.fresh_until.plus_us(late_us), ..NOW };
        let decision = assess(&snapshot, &policy, &operation, &fixture::caller(path), now);
        prop_assert_eq!(decision.reasons, vec![Reason::SnapshotStale]);
    }
}
