//! Nothing is permitted under an ancestor that is not open, or that a lock stops.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::super::{check_decision, check_snapshot};
use crate::fixture::{self, NOW};
use crate::*;

/// From the root down; the last is the one that is called for.
const TASKS: [&str; 3] = ["task_9", "task_5", "task_1"];
/// Each task's agent, and whom it runs for.
const AGENTS: [&str; 3] = ["triage-agent", "billing-agent", "support-agent"];
const USERS: [&str; 3] = ["bo", "bo", "ana"];

#[derive(Debug, Clone)]
enum Event {
    Task(usize, TaskEvent),
    Lock(LockTarget),
    /// Lifts the lock that was set this many locks ago.
    Lift(usize),
}

fn events() -> impl Strategy<Value = Event> {
    let kinds = vec![
        TaskEvent::Suspend,
        TaskEvent::Resume,
        TaskEvent::Resume,
        TaskEvent::Close(Closure::Revoked),
        TaskEvent::Drain,
        TaskEvent::Open,
    ];
    let mut targets = vec![
        LockTarget::Everything,
        LockTarget::TrustDomain("carnet.example".into()),
        LockTarget::Resource("desk".parse().unwrap()),
        LockTarget::Resource("wiki".parse().unwrap()),
        LockTarget::Instance(InstanceId::from_bits(1)),
        LockTarget::Instance(InstanceId::from_bits(2)),
        LockTarget::Grant("grant_1".parse().unwrap()),
        LockTarget::Grant("grant_2".parse().unwrap()),
        LockTarget::Grant("grant_3".parse().unwrap()),
        LockTarget::User("cy".parse().unwrap()),
    ];
    targets.extend(TASKS.map(|id| LockTarget::Task(id.parse().unwrap())));
    targets.extend(AGENTS.map(|name| LockTarget::Agent(name.parse().unwrap())));
    targets.extend(USERS.map(|name| LockTarget::User(name.parse().unwrap())));
    prop_oneof![
        4 => (0..TASKS.len(), select(kinds)).prop_map(|(task, event)| Event::Task(task, event)),
        2 => select(targets).prop_map(Event::Lock),
        3 => (0_usize..4).prop_map(Event::Lift),
    ]
}

/// Whether a lock on `target` stops the last task's agent at the desk.
fn stops(target: &LockTarget) -> bool {
    match target {
        LockTarget::User(user) => USERS.contains(&user.as_str()),
        LockTarget::Agent(_) | LockTarget::Task(_) | LockTarget::Grant(_) => true,
        LockTarget::Instance(instance) => *instance == InstanceId::from_bits(1),
        LockTarget::Resource(resource) => resource.as_str() == "desk",
        LockTarget::ForeignDomain(_) => false,
        LockTarget::TrustDomain(_) | LockTarget::Everything => true,
    }
}

struct World {
    snapshot: Snapshot,
    locks: Vec<Lock>,
}

impl World {
    fn new() -> Self {
        let read = json!({ "action": "desk.tool.get_ticket", "path": "read" });
        let grant = fixture::grant("grant_1", fixture::allowance(read));
        let mut snapshot = fixture::snapshot(vec![]);
        let known = (**snapshot.agents.values().next().unwrap()).clone();
        let agents = AGENTS.map(|name| Agent { name: name.parse().unwrap(), ..known.clone() });
        let agents = agents.map(|agent| (agent.name.clone(), Arc::new(agent)));
        snapshot.agents = Arc::new(agents.into());
        for (n, id) in TASKS.iter().enumerate() {
            let mut task = fixture::task(id);
            task.agent = AGENTS[n].parse().unwrap();
            task.subject = Principal::User(USERS[n].parse().unwrap());
            task.opened_by = match n {
                0 | 1 => task.subject.clone(),
                _ => Principal::Agent(AGENTS[n - 1].parse().unwrap()),
            };
            task.parent = n.checked_sub(1).map(|above| TASKS[above].parse().unwrap());
            task.depth = n as u32;
            // Each is cut from the one above.
            let mut held = grant.clone();
            held.id = format!("grant_{}", 3 - n).parse().unwrap();
            held.task = task.id.clone();
            held.cut_from =
                task.parent.as_ref().map(|_| format!("grant_{}", 4 - n).parse().unwrap());
            fixture::put_task(&mut snapshot, task, vec![held]);
        }
        Self { snapshot, locks: Vec::new() }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Task(n, event) => {
                let Some(view) = self.snapshot.task(&TASKS[n].parse().unwrap()) else { return };
                let view = (**view).clone();
                let Ok((task, _)) = view.task.apply(event, NOW.wall) else { return };
                let tasks = Arc::make_mut(&mut self.snapshot.tasks);
                // What is closed is in no snapshot: the driver takes it out.
                match task.state {
                    TaskState::Closed { .. } => drop(tasks.remove(&task.id)),
                    _ => drop(tasks.insert(task.id.clone(), Arc::new(TaskView { task, ..view }))),
                }
            }
            Event::Lock(target) => self.locks.push(Lock {
                id: LockId::from_bits(self.locks.len() as u128),
                target,
                set_by: "bo".parse().unwrap(),
                set_at: NOW.wall,
                reason: "drill".into(),
                state: LockState::Set,
            }),
            Event::Lift(back) => {
                let Some(n) = self.locks.len().checked_sub(back + 1) else { return };
                let Ok((lock, _)) = self.locks[n].clone().apply(LockEvent::Lift, NOW.wall) else {
                    return;
                };
                self.locks[n] = lock;
            }
        }
        let locks = self.locks.iter().map(|lock| (lock.id.clone(), Arc::new(lock.clone())));
        self.snapshot.locks = Arc::new(locks.collect());
    }

    fn is_stopped(&self) -> bool {
        let is_open = |id: &&str| {
            let view = self.snapshot.task(&id.parse().unwrap());
            view.is_some_and(|view| view.task.state == TaskState::Open)
        };
        !TASKS.iter().all(is_open)
            || self.locks.iter().any(|lock| lock.is_in_force() && stops(&lock.target))
    }
}

#[test]
fn nothing_is_permitted_below_what_is_closed_suspended_or_locked() {
    let (permits, denials) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 500, ..Config::default() });
    let runs = proptest::collection::vec(events(), 0..24);
    runner
        .run(&runs, |events| {
            let mut world = World::new();
            let operation = fixture::operation("get_ticket", json!({}));
            let caller = fixture::caller(Path::Read);
            for event in events {
                let before = world.snapshot.clone();
                let attempt = Attempt { operation: operation.clone(), original: "{}".into() };
                let decided = decide(&before, &fixture::permitting(), attempt, caller.clone(), NOW);
                world.apply(event);
                let snapshot = &world.snapshot;
                check_snapshot(snapshot).unwrap();
                let decision = assess(snapshot, &fixture::permitting(), &operation, &caller, NOW);
                check_decision(snapshot, &operation, &caller, NOW, &decision).unwrap();
                let is_permitted = decision.kind == DecisionKind::Permit;
                prop_assert_eq!(is_permitted, !world.is_stopped());
                // A permit decided before the event is stopped at the door by it.
                if let Decided::Permit(permit) = decided {
                    prop_assert_eq!(permit.recheck(snapshot, NOW).is_ok(), is_permitted);
                }
                let count = if is_permitted { &permits } else { &denials };
                count.set(count.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(permits.get() > 100 && denials.get() > 100, "{permits:?} {denials:?}");
}

#[test]
fn those_who_handed_the_work_on_are_its_delegators() {
    let mut world = World::new();
    let leaf = "task_1".parse().unwrap();
    let delegators: Vec<_> = world.snapshot.delegators(&leaf).into_iter().collect();
    assert_eq!(delegators, ["bo".parse().unwrap()]);
    // A person who opened a task for somebody handed nothing on: nothing is above it.
    let mut root = fixture::task("task_9");
    root.opened_by = Principal::User("cy".parse().unwrap());
    fixture::put_task(&mut world.snapshot, root, vec![]);
    assert!(world.snapshot.delegators(&"task_9".parse().unwrap()).is_empty());
}

/// An engine that asks people for the operations themselves and lets any be handed on.
struct AskingAtTheCall;

impl crate::Policy for AskingAtTheCall {
    fn digest(&self) -> crate::Digest {
        crate::Digest::of(b"asking at the call")
    }
    fn judge(&self, document: &crate::Document) -> crate::Verdict {
        match document.verb {
            crate::Verb::TaskDelegate => fixture::permitting().judge(document),
            _ => fixture::asking(&["team:finance"], 1).judge(document),
        }
    }
}

#[test]
fn a_person_the_work_was_handed_on_for_does_not_count_among_those_who_approved() {
    let exact = Allowance::exact(&fixture::operation("get_ticket", json!({})));
    let mut grant = fixture::grant("grant_1", exact);
    grant.cut_from = Some("grant_2".parse().unwrap());
    grant.approved = Some(Approved {
        approval: ApprovalId::from_bits(1),
        by: vec!["bo".parse().unwrap()],
        instance: None,
    });
    let mut world = World::new();
    let view = world.snapshot.task(&"task_1".parse().unwrap()).unwrap();
    let task = view.task.clone();
    fixture::put_task(&mut world.snapshot, task, vec![grant.clone()]);
    let operation = fixture::operation("get_ticket", json!({}));
    let ask = |snapshot: &Snapshot| {
        assess(snapshot, &AskingAtTheCall, &operation, &fixture::caller(Path::Read), NOW)
    };
    assert_eq!(ask(&world.snapshot).kind, DecisionKind::Ask);
    let cy = vec!["cy".parse().unwrap()];
    grant.approved.as_mut().unwrap().by = cy;
    let task = world.snapshot.task(&"task_1".parse().unwrap()).unwrap().task.clone();
    fixture::put_task(&mut world.snapshot, task, vec![grant]);
    assert_eq!(ask(&world.snapshot).kind, DecisionKind::Permit);
}
