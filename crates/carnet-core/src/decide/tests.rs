use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::fixture::{self, NOW};
use crate::{ApprovalId, Approved, Attempt, Closure, Grant, GrantState, TaskEvent, TaskState};
use crate::{Decided, Lock, LockId, LockState, decide};

fn reading() -> Snapshot {
    fixture::snapshot(vec![fixture::grant(
        "grant_1",
        fixture::allowance(json!({ "action": "desk.tool.get_*", "path": "read" })),
    )])
}

fn refund_grant(extra: serde_json::Value) -> Grant {
    let mut value = json!({
        "action": "desk.tool.issue_refund",
        "path": "write",
        "where": { "order_id": { "equals": "O-1" }, "amount_cents": { "at_most": 5000 } },
    });
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    fixture::grant("grant_2", fixture::allowance(value))
}

fn refund(amount: i64) -> Operation {
    fixture::operation("issue_refund", json!({ "order_id": "O-1", "amount_cents": amount }))
}

fn ticket() -> Operation {
    fixture::operation("get_ticket", json!({ "ticket_id": "T-1" }))
}

fn read(snapshot: &Snapshot) -> Decision {
    assess(snapshot, &fixture::permitting(), &ticket(), &fixture::caller(Path::Read), NOW)
}

fn write(snapshot: &Snapshot, policy: &dyn Policy, amount: i64) -> Decision {
    assess(snapshot, policy, &refund(amount), &fixture::caller(Path::Write), NOW)
}

#[test]
fn a_covered_and_permitted_read_is_permitted_and_counts_nothing() {
    let decision = read(&reading());
    assert_eq!(decision.kind, DecisionKind::Permit);
    assert!(decision.reasons.is_empty());
    assert!(!decision.needs_reservation());
}

#[test]
fn a_task_without_a_grant_permits_nothing_whatever_policy_says() {
    let decision = read(&fixture::snapshot(vec![]));
    assert_eq!((decision.kind, decision.reasons), (DecisionKind::Deny, vec![Reason::NotCovered]));
}

#[test]
fn a_grant_permits_nothing_that_policy_does_not() {
    let policy = fixture::Fixed(fixture::verdict(VerdictEffect::Deny));
    let decision = assess(&reading(), &policy, &ticket(), &fixture::caller(Path::Read), NOW);
    assert_eq!(decision.reasons, [Reason::PolicyDoesNotPermit]);
}

#[test]
fn a_failed_engine_is_a_deny() {
    let policy = fixture::Fixed(Verdict::failed("out of memory"));
    let decision = assess(&reading(), &policy, &ticket(), &fixture::caller(Path::Read), NOW);
    assert_eq!((decision.kind, decision.reasons), (DecisionKind::Deny, vec![Reason::PolicyFailed]));
}

#[test]
fn a_stale_snapshot_permits_nothing() {
    let mut snapshot = reading();
    snapshot.fresh_until = NOW.mono;
    assert_eq!(read(&snapshot).reasons, [Reason::SnapshotStale]);
}

#[test]
fn a_write_on_the_read_path_is_refused_even_where_a_grant_covers_it() {
    let snapshot = fixture::snapshot(vec![refund_grant(json!({}))]);
    let decision =
        assess(&snapshot, &fixture::permitting(), &refund(5), &fixture::caller(Path::Read), NOW);
    assert_eq!(decision.reasons, [Reason::WrongPath]);
}

#[test]
fn an_unbound_token_reaches_the_read_path_only_where_the_agent_may_bear_one() {
    let mut caller = fixture::caller(Path::Read);
    caller.thumbprint = None;
    let mut snapshot = reading();
    let mut instance = (*snapshot.instances[&caller.instance]).clone();
    instance.thumbprint = None;
    Arc::make_mut(&mut snapshot.instances).insert(instance.id.clone(), Arc::new(instance));
    let policy = fixture::permitting();
    let decision = assess(&snapshot, &policy, &ticket(), &caller, NOW);
    assert_eq!(decision.reasons, [Reason::ProofRequired]);
    let mut agent = (*snapshot.agents[&caller.agent]).clone();
    agent.bearer_read = true;
    Arc::make_mut(&mut snapshot.agents).insert(agent.name.clone(), Arc::new(agent));
    assert_eq!(assess(&snapshot, &policy, &ticket(), &caller, NOW).kind, DecisionKind::Permit);
    caller.path = Path::Write;
    let decision = assess(&snapshot, &policy, &refund(1), &caller, NOW);
    assert_eq!(decision.reasons, [Reason::ProofRequired]);
}

#[test]
fn another_key_than_the_instance_proved_is_refused() {
    let mut caller = fixture::caller(Path::Read);
    caller.thumbprint = Some("other".into());
    let decision = assess(&reading(), &fixture::permitting(), &ticket(), &caller, NOW);
    assert_eq!(decision.reasons, [Reason::InstanceUnknown]);
}

#[test]
fn a_closed_task_permits_nothing() {
    let mut snapshot = reading();
    let grants = snapshot.tasks[&"task_1".parse().unwrap()].grants.clone();
    let (task, _) =
        fixture::task("task_1").apply(TaskEvent::Close(Closure::Completed), NOW.wall).unwrap();
    fixture::put_task(&mut snapshot, task, grants);
    assert_eq!(read(&snapshot).reasons, [Reason::TaskNotOpen]);
    Arc::make_mut(&mut snapshot.tasks).clear();
    assert_eq!(read(&snapshot).reasons, [Reason::TaskUnknown]);
}

#[test]
fn nothing_is_permitted_after_an_ancestor_is_closed() {
    let mut snapshot = reading();
    let grants = snapshot.tasks[&"task_1".parse().unwrap()].grants.clone();
    let mut child = fixture::task("task_1");
    child.parent = Some("task_9".parse().unwrap());
    let whole = |grant: &Grant| Grant { id: "grant_9".parse().unwrap(), ..grant.clone() };
    let above: Vec<Grant> = grants.iter().map(whole).collect();
    let part = |grant: Grant| Grant { cut_from: Some("grant_9".parse().unwrap()), ..grant };
    fixture::put_task(&mut snapshot, child, grants.into_iter().map(part).collect());
    assert_eq!(read(&snapshot).reasons, [Reason::AncestorClosed]);
    fixture::put_task(&mut snapshot, fixture::task("task_9"), above.clone());
    assert_eq!(read(&snapshot).kind, DecisionKind::Permit);
    let mut suspended = fixture::task("task_9");
    suspended.state = TaskState::Suspended;
    fixture::put_task(&mut snapshot, suspended, above);
    assert_eq!(read(&snapshot).reasons, [Reason::AncestorClosed]);
}

#[test]
fn a_chain_of_parents_that_loops_is_refused() {
    let mut snapshot = reading();
    let mut task = fixture::task("task_1");
    task.parent = Some(task.id.clone());
    fixture::put_task(&mut snapshot, task, vec![]);
    assert_eq!(read(&snapshot).reasons, [Reason::TaskTooDeep]);
}

#[test]
fn every_kind_of_lock_stops_what_it_names() {
    let targets = [
        LockTarget::Everything,
        LockTarget::Agent("support-agent".parse().unwrap()),
        LockTarget::User("ana".parse().unwrap()),
        LockTarget::Task("task_1".parse().unwrap()),
        LockTarget::Resource("desk".parse().unwrap()),
        LockTarget::Instance(crate::InstanceId::from_bits(1)),
        LockTarget::Grant("grant_1".parse().unwrap()),
    ];
    for target in targets {
        let mut snapshot = reading();
        let lock = Lock {
            id: LockId::from_bits(1),
            target: target.clone(),
            set_by: "bo".parse().unwrap(),
            set_at: NOW.wall,
            reason: "drill".into(),
            state: LockState::Set,
        };
        Arc::make_mut(&mut snapshot.locks).insert(lock.id.clone(), Arc::new(lock));
        assert_eq!(read(&snapshot).kind, DecisionKind::Deny, "{target:?}");
    }
}

#[test]
fn a_changed_definition_is_unreviewed_at_call_time() {
    let mut snapshot = reading();
    let mut desk = fixture::desk();
    for registered in desk.operations.values_mut() {
        registered.pin = crate::Digest::of(b"changed");
    }
    Arc::make_mut(&mut snapshot.resources).insert(desk.name.clone(), Arc::new(desk));
    assert_eq!(read(&snapshot).reasons, [Reason::Unreviewed]);
}

#[test]
fn an_allowance_approved_at_each_use_asks_its_owner() {
    let snapshot = fixture::snapshot(vec![refund_grant(json!({ "approve": "on_use" }))]);
    let decision = write(&snapshot, &fixture::permitting(), 500);
    assert_eq!(decision.kind, DecisionKind::Ask);
    assert_eq!(decision.terms.unwrap().approvers, ["owner".to_owned()].into());
}

#[test]
fn what_no_grant_covers_asks_only_where_policy_asks() {
    let snapshot = fixture::snapshot(vec![]);
    let asked = write(&snapshot, &fixture::asking(&["team:finance"], 1), 500);
    assert_eq!((asked.kind, asked.reasons), (DecisionKind::Ask, vec![Reason::ApprovalNeeded]));
    let denied = write(&snapshot, &fixture::permitting(), 500);
    assert_eq!(denied.reasons, [Reason::NotCovered]);
}

fn approved(amount: i64, by: &[&str]) -> Grant {
    let mut grant = fixture::grant("grant_3", crate::Allowance::exact(&refund(amount)));
    grant.approved = Some(Approved {
        approval: ApprovalId::from_bits(1),
        by: by.iter().map(|name| name.parse().unwrap()).collect(),
        instance: None,
    });
    grant
}

#[test]
fn an_approval_covers_exactly_what_was_asked_and_nothing_else() {
    let snapshot = fixture::snapshot(vec![approved(500, &["bo"])]);
    let policy = fixture::asking(&["team:finance"], 1);
    let decision = write(&snapshot, &policy, 500);
    assert_eq!(decision.kind, DecisionKind::Permit);
    assert!(decision.needs_reservation());
    assert_eq!(write(&snapshot, &policy, 501).kind, DecisionKind::Ask);
    assert_eq!(write(&snapshot, &fixture::permitting(), 501).reasons, [Reason::NotCovered]);
}

#[test]
fn a_stored_yes_is_judged_again_under_todays_terms() {
    let snapshot = fixture::snapshot(vec![approved(500, &["bo"])]);
    assert_eq!(
        write(&snapshot, &fixture::asking(&["team:finance"], 2), 500).kind,
        DecisionKind::Ask
    );
    assert_eq!(write(&snapshot, &fixture::asking(&["team:legal"], 1), 500).kind, DecisionKind::Ask);
    let both = fixture::snapshot(vec![approved(500, &["bo", "cy"])]);
    assert_eq!(
        write(&both, &fixture::asking(&["team:finance"], 2), 500).kind,
        DecisionKind::Permit
    );
    let forbid = fixture::Fixed(fixture::verdict(VerdictEffect::Deny));
    assert_eq!(write(&both, &forbid, 500).kind, DecisionKind::Deny);
}

#[test]
fn an_engine_that_takes_any_name_for_an_approval_is_not_believed() {
    let snapshot = fixture::snapshot(vec![approved(500, &["bo"])]);
    let legal = fixture::Credulous(fixture::terms(&["team:legal"], 1));
    assert_eq!(write(&snapshot, &legal, 500).kind, DecisionKind::Ask);
    let finance = fixture::Credulous(fixture::terms(&["team:finance"], 1));
    assert_eq!(write(&snapshot, &finance, 500).kind, DecisionKind::Permit);
}

#[test]
fn an_approved_use_draws_on_the_allowance_it_was_asked_under() {
    let mut base = refund_grant(json!({ "approve": "on_use", "total": { "amount_cents": 800 } }));
    base.totals_spent.insert("amount_cents".into(), 400);
    let mut exact = approved(500, &["bo"]);
    exact.draws_on = Some(base.id.clone());
    let snapshot = fixture::snapshot(vec![base, exact]);
    let decision = write(&snapshot, &fixture::permitting(), 500);
    assert_eq!((decision.kind, decision.reasons), (DecisionKind::Deny, vec![Reason::GrantSpent]));
}

#[test]
fn a_flood_of_questions_wears_nobody_out() {
    let mut snapshot = fixture::snapshot(vec![]);
    let mut view = (*snapshot.tasks[&"task_1".parse().unwrap()]).clone();
    view.questions_pending = QUESTIONS_PENDING_MAX;
    Arc::make_mut(&mut snapshot.tasks).insert(view.task.id.clone(), Arc::new(view));
    let decision = write(&snapshot, &fixture::asking(&["team:finance"], 1), 500);
    let expected = (DecisionKind::Deny, vec![Reason::QuestionsPending]);
    assert_eq!((decision.kind, decision.reasons), expected);
}

#[test]
fn a_spent_budget_is_checked_before_a_person_is_asked() {
    let mut snapshot = fixture::snapshot(vec![]);
    let mut task = fixture::task("task_1");
    (task.calls_max, task.calls_spent) = (Some(3), 3);
    fixture::put_task(&mut snapshot, task, vec![]);
    let decision = write(&snapshot, &fixture::asking(&["team:finance"], 1), 500);
    assert_eq!((decision.kind, decision.reasons), (DecisionKind::Deny, vec![Reason::BudgetSpent]));
}

fn permit(snapshot: &Snapshot) -> crate::Permit {
    let attempt = Attempt { operation: ticket(), original: "{}".into() };
    let caller = fixture::caller(Path::Read);
    match decide(snapshot, &fixture::permitting(), attempt, caller, NOW) {
        Decided::Permit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_permit_is_checked_again_at_the_door() {
    let snapshot = reading();
    let permit = permit(&snapshot);
    permit.recheck(&snapshot, NOW).unwrap();
    let mut stale = snapshot.clone();
    stale.fresh_until = NOW.mono;
    assert_eq!(permit.recheck(&stale, NOW), Err(Reason::SnapshotStale));
    let mut revoked = reading();
    let mut view = (*revoked.tasks[&"task_1".parse().unwrap()]).clone();
    view.grants[0].state = GrantState::Revoked;
    Arc::make_mut(&mut revoked.tasks).insert(view.task.id.clone(), Arc::new(view));
    assert_eq!(permit.recheck(&revoked, NOW), Err(Reason::NotCovered));
    let mut closed = reading();
    Arc::make_mut(&mut closed.tasks).clear();
    assert_eq!(permit.recheck(&closed, NOW), Err(Reason::TaskUnknown));
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let once = serde_json::to_vec(&read(&reading())).unwrap();
    let again = serde_json::to_vec(&read(&reading())).unwrap();
    assert_eq!(once, again);
}
