mod chain;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixture;
use crate::{Decision, DecisionKind, Document, GrantState, Intent, Miss, Policy, Verb, Verdict};
use crate::{VerdictEffect, assess};

const NOW: Timestamp = fixture::NOW.wall;

fn refunds(uses: Option<u64>, total: i64) -> Value {
    let mut allowance = json!({
        "action": "desk.tool.issue_refund", "path": "write",
        "where": { "order_id": { "one_of": ["O-1", "O-2"] } },
        "total": { "amount_cents": total },
    });
    if let Some(uses) = uses {
        allowance["uses"] = json!(uses);
    }
    allowance
}

fn intent(allow: Value, more: Value) -> Intent {
    let mut intent = json!({ "purpose": "support", "allow": [allow] });
    for (key, value) in more.as_object().unwrap() {
        intent[key] = value.clone();
    }
    Intent::from_json(intent.to_string().as_bytes()).unwrap()
}

/// A task with five refunds of at most 1,000 cents together.
fn world(change: impl FnOnce(&mut Task)) -> (Snapshot, TaskView) {
    let grant = fixture::grant("grant_1", fixture::allowance(refunds(Some(5), 1_000)));
    let mut snapshot = fixture::snapshot(vec![]);
    let mut task = fixture::task("task_1");
    change(&mut task);
    fixture::put_task(&mut snapshot, task, vec![grant]);
    let view = (**snapshot.task(&"task_1".parse().unwrap()).unwrap()).clone();
    (snapshot, view)
}

fn handed(intent: &Intent) -> Result<Handover, String> {
    let (snapshot, view) = world(|_| {});
    hand_on(&snapshot, &view, intent, 600, NOW).map_err(|refused| refused.to_string())
}

#[test]
fn uses_and_totals_move_to_the_child() {
    let handover = handed(&intent(refunds(Some(2), 300), json!({}))).unwrap();
    let left = &handover.grants[0];
    assert_eq!((left.uses_left(), left.totals_spent["amount_cents"]), (Some(3), 300));
    assert_eq!(handover.cuts[0].from, left.id);
    assert_eq!(handover.deadline, NOW.plus_s(600));
    let all = handed(&intent(refunds(Some(5), 1_000), json!({}))).unwrap();
    assert_eq!(all.grants[0].state, GrantState::Exhausted);
}

#[test]
fn what_exceeds_the_rest_is_refused_and_never_trimmed() {
    for (intent, problem) in [
        (intent(refunds(Some(6), 1), json!({})), "6 are asked for and 5 left"),
        (intent(refunds(None, 1), json!({})), "no bound is asked for and 5 left"),
        (intent(refunds(Some(1), 1_001), json!({})), "1001 are asked for and 1000 are left"),
        (
            intent(refunds(Some(1), 1), json!({ "deadline": "20m" })),
            "1200 s are asked for and the task has 1000 s left",
        ),
        (intent(refunds(Some(1), 1), json!({ "purpose": "audit" })), "write `support`"),
        (
            intent(json!({ "action": "desk.tool.get_ticket", "path": "read" }), json!({})),
            "`desk.tool.get_ticket` names operations that `desk.tool.issue_refund` does not",
        ),
    ] {
        let refused = handed(&intent).unwrap_err();
        assert!(refused.contains(problem), "{refused}");
    }
}

#[test]
fn two_allowances_cannot_take_the_same_rest() {
    let mut twice = intent(refunds(Some(3), 1), json!({}));
    twice.allowances.push(twice.allowances[0].clone());
    assert!(handed(&twice).unwrap_err().starts_with("allow[1]: "));
}

#[test]
fn the_budget_moves_and_what_it_does_not_have_is_refused() {
    let (snapshot, view) = world(|task| {
        (task.calls_max, task.calls_spent) = (Some(10), 4);
        (task.children_max, task.levels_max) = (Some(1), Some(1));
    });
    let ask = |budget: Value| {
        let intent = intent(refunds(Some(1), 1), json!({ "budget": budget }));
        hand_on(&snapshot, &view, &intent, 600, NOW)
    };
    let handover = ask(json!({ "calls": 6 })).unwrap();
    assert_eq!((handover.parent.calls_spent, handover.calls_max), (10, Some(6)));
    assert_eq!((handover.children_max, handover.levels_max), (Some(1), Some(0)));
    for (budget, name) in [
        (json!({ "calls": 7 }), "calls"),
        (json!({ "depth": 0 }), "calls"),
        (json!({ "calls": 1, "depth": 1 }), "depth"),
        (json!({ "calls": 1, "fan_out": 2 }), "fan_out"),
    ] {
        let refused = ask(budget).unwrap_err();
        assert!(matches!(&refused, NotAPart::Budget { name: found, .. } if *found == name));
    }
    let full = TaskView { task: handover.parent, ..view };
    let one = intent(refunds(Some(1), 1), json!({ "budget": { "calls": 0 } }));
    let refused = hand_on(&snapshot, &full, &one, 600, NOW).unwrap_err();
    assert!(matches!(refused, NotAPart::Budget { name: "fan_out", left: 0, .. }), "{refused}");
}

#[test]
fn a_yes_to_one_operation_is_not_handed_on() {
    let (snapshot, mut view) = world(|_| {});
    view.grants[0].draws_on = Some("grant_0".parse().unwrap());
    let intent = intent(refunds(Some(1), 1), json!({}));
    let refused = hand_on(&snapshot, &view, &intent, 600, NOW).unwrap_err();
    assert!(refused.to_string().contains("no live grant"), "{refused}");
}

/// `task_2`, below `task_1`, with a grant of `allowance` cut from what `task_1` holds.
fn below(allowance: Value, cut_from: Option<&str>) -> Snapshot {
    let (mut snapshot, view) = world(|_| {});
    let parent =
        Task { id: "task_2".parse().unwrap(), agent: "planner".parse().unwrap(), ..view.task };
    let grants = view.grants.into_iter().map(|grant| Grant {
        id: "grant_2".parse().unwrap(),
        task: parent.id.clone(),
        ..grant
    });
    let (id, grants) = (parent.id.clone(), grants.collect());
    fixture::put_task(&mut snapshot, parent, grants);
    let planner = crate::Agent {
        name: "planner".parse().unwrap(),
        ..(**snapshot.agents.values().next().unwrap()).clone()
    };
    let agents = std::sync::Arc::make_mut(&mut snapshot.agents);
    agents.insert(planner.name.clone(), std::sync::Arc::new(planner));
    let child = Task { parent: Some(id), depth: 1, ..fixture::task("task_1") };
    let mut grant = fixture::grant("grant_1", fixture::allowance(allowance));
    grant.cut_from = cut_from.map(|id| id.parse().unwrap());
    fixture::put_task(&mut snapshot, child, vec![grant]);
    snapshot
}

fn refund(snapshot: &Snapshot, order: &str) -> Decision {
    let arguments = json!({ "order_id": order, "amount_cents": 5 });
    let operation = fixture::operation("issue_refund", arguments);
    let caller = fixture::caller(crate::Path::Write);
    assess(snapshot, &fixture::permitting(), &operation, &caller, fixture::NOW)
}

fn stopped_by(decision: &Decision) -> &Miss {
    assert_eq!(decision.kind, DecisionKind::Deny, "{decision:?}");
    &decision.misses[0].1
}

#[test]
fn a_part_covers_what_it_was_cut_for_and_nothing_its_whole_does_not() {
    let above = Miss::Above("grant_2".parse().unwrap());
    let snapshot = below(refunds(Some(1), 5), Some("grant_2"));
    assert_eq!(refund(&snapshot, "O-1").kind, DecisionKind::Permit);
    // However a wider one came to be: the whole is asked again at each call.
    let wider = json!({
        "action": "desk.tool.issue_refund", "path": "write", "other": "any",
    });
    let snapshot = below(wider, Some("grant_2"));
    assert_eq!(refund(&snapshot, "O-1").kind, DecisionKind::Permit);
    assert_eq!(stopped_by(&refund(&snapshot, "O-3")), &above);
}

/// An engine that permits everything but handing on by one agent.
struct NoHandingOn(&'static str);

impl Policy for NoHandingOn {
    fn digest(&self) -> crate::Digest {
        crate::Digest::of(b"no handing on")
    }
    fn judge(&self, document: &Document) -> Verdict {
        let by = document.principal.principal.to_string();
        let refused = document.verb == Verb::TaskDelegate && by == self.0;
        fixture::verdict(if refused { VerdictEffect::Deny } else { VerdictEffect::Permit })
    }
}

#[test]
fn policy_is_asked_of_each_hop_again_at_each_call() {
    let snapshot = below(refunds(Some(1), 5), Some("grant_2"));
    let arguments = json!({ "order_id": "O-1", "amount_cents": 5 });
    let operation = fixture::operation("issue_refund", arguments);
    let caller = fixture::caller(crate::Path::Write);
    let decide =
        |policy: &NoHandingOn| assess(&snapshot, policy, &operation, &caller, fixture::NOW);
    let permitted = decide(&NoHandingOn("agent:support-agent"));
    assert_eq!(permitted.kind, DecisionKind::Permit, "the agent below hands nothing on");
    let [hop] = &permitted.hops[..] else { panic!("{:?}", permitted.hops) };
    assert_eq!(hop.task, caller.task);
    assert_eq!(hop.document.principal.principal.to_string(), "agent:planner");
    assert_eq!(hop.document.task.as_ref().unwrap().agent, caller.agent);
    assert_eq!(hop.document.arguments, *operation.arguments());
    let denied = decide(&NoHandingOn("agent:planner"));
    assert_eq!(denied.reasons, [crate::Reason::DelegationRefused]);
}

#[test]
fn an_agent_above_that_is_not_registered_any_more_hands_nothing_on() {
    let mut snapshot = below(refunds(Some(1), 5), Some("grant_2"));
    let agents = std::sync::Arc::make_mut(&mut snapshot.agents);
    agents.remove(&"planner".parse::<crate::AgentName>().unwrap());
    let decision = refund(&snapshot, "O-1");
    assert_eq!(decision.reasons, [crate::Reason::AgentUnknown]);
}

#[test]
fn a_part_ends_with_its_whole() {
    let part = || below(refunds(Some(1), 5), Some("grant_2"));
    let change = |snapshot: &mut Snapshot, change: &dyn Fn(&mut Grant)| {
        let view = (**snapshot.task(&"task_2".parse().unwrap()).unwrap()).clone();
        let mut grant = view.grants[0].clone();
        change(&mut grant);
        fixture::put_task(snapshot, view.task, vec![grant]);
    };
    let above = Miss::Above("grant_2".parse().unwrap());
    for end in [
        |grant: &mut Grant| grant.state = GrantState::Revoked,
        |grant: &mut Grant| grant.state = GrantState::Expired,
        |grant: &mut Grant| grant.expires = NOW,
        |grant: &mut Grant| grant.id = "grant_3".parse().unwrap(),
    ] {
        let mut snapshot = part();
        change(&mut snapshot, &end);
        assert_eq!(stopped_by(&refund(&snapshot, "O-1")), &above);
    }
    // All of it may have moved: what moved is still there.
    let mut snapshot = part();
    change(&mut snapshot, &|grant| grant.state = GrantState::Exhausted);
    assert_eq!(refund(&snapshot, "O-1").kind, DecisionKind::Permit);
}

#[test]
fn a_grant_of_a_child_task_that_was_cut_from_none_covers_nothing() {
    let snapshot = below(refunds(Some(1), 5), None);
    assert_eq!(stopped_by(&refund(&snapshot, "O-1")), &Miss::Above("grant_1".parse().unwrap()));
}

proptest! {
    /// However a task hands on and uses what it has, all together never have more than it had.
    #[test]
    fn the_sum_of_all_parts_never_exceeds_the_whole(
        asked in proptest::collection::vec((1_u64..4, 0_i64..600), 1..8)
    ) {
        let (snapshot, mut view) = world(|_| {});
        let (mut uses, mut total) = (0, 0);
        for (part_uses, part_total) in asked {
            let intent = intent(refunds(Some(part_uses), part_total), json!({}));
            if let Ok(handover) = hand_on(&snapshot, &view, &intent, 600, NOW) {
                uses += part_uses;
                total += part_total;
                view = TaskView { task: handover.parent, grants: handover.grants, ..view };
            }
        }
        let grant = &view.grants[0];
        prop_assert!(uses <= 5 && total <= 1_000);
        prop_assert_eq!(grant.uses_left(), Some(5 - uses));
        prop_assert_eq!(crate::invariant::check_grant(grant), Ok(()));
    }
}
