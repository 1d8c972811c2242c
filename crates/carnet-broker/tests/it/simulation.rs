//! Whatever is done in whatever order: the invariants hold after each step, and the ledger is whole.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use carnet_broker::BrokerError;
use carnet_core::{
    ApprovalId, ApprovalState, DecisionKind, LockId, LockTarget, Reason, ReservationId, TaskId,
    invariant,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::house::*;

/// How often a paying task may pay.
const USES: u64 = 3;
const CASES: u32 = 24;

/// A step. Numbers choose among what there is, and do nothing where there is nothing.
#[derive(Debug, Clone)]
enum Step {
    Open,
    Ask { task: usize, text: u8 },
    Approve { question: usize, by: &'static str },
    Deny { question: usize },
    Pay { task: usize },
    Send { task: usize, text: u8 },
    Settle { held: usize, forwarded: bool },
    Close { task: usize, is_full: bool },
    Lock { target: u8, task: usize },
    Lift { lock: usize },
    Pass { s: i64 },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0_usize..4;
    let by = proptest::sample::select(&["ana", "bo", "cy", "eve"][..]);
    let step = prop_oneof![
        3 => Just(Step::Open),
        4 => (n.clone(), 0_u8..3).prop_map(|(task, text)| Step::Ask { task, text }),
        4 => (n.clone(), by).prop_map(|(question, by)| Step::Approve { question, by }),
        1 => n.clone().prop_map(|question| Step::Deny { question }),
        6 => n.clone().prop_map(|task| Step::Pay { task }),
        4 => (n.clone(), 0_u8..3).prop_map(|(task, text)| Step::Send { task, text }),
        3 => (n.clone(), any::<bool>()).prop_map(|(held, forwarded)| Step::Settle { held, forwarded }),
        2 => (n.clone(), proptest::bool::weighted(0.3))
            .prop_map(|(task, is_full)| Step::Close { task, is_full }),
        1 => (0_u8..4, n.clone()).prop_map(|(target, task)| Step::Lock { target, task }),
        2 => n.prop_map(|lock| Step::Lift { lock }),
        1 => proptest::sample::select(&[1_i64, 400, 1_000][..]).prop_map(|s| Step::Pass { s }),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 10..40)
}

/// What must be so, said without the broker.
#[derive(Default)]
struct Model {
    /// Open tasks, with how many payments are spent.
    tasks: BTreeMap<TaskId, u64>,
    closed: Vec<TaskId>,
    /// Questions, with their task and where they stand.
    questions: Vec<(ApprovalId, TaskId, ApprovalState)>,
    held: Vec<(ReservationId, Option<TaskId>)>,
    locks: Vec<(LockId, LockTarget)>,
}

impl Model {
    fn task(&self, n: usize) -> Option<TaskId> {
        self.tasks.keys().nth(n).cloned()
    }

    fn is_locked(&self, task: &TaskId) -> bool {
        self.locks.iter().any(|(_, target)| match target {
            LockTarget::Task(locked) => locked == task,
            _ => true,
        })
    }

    fn close(&mut self, task: &TaskId) {
        self.tasks.remove(task);
        self.closed.push(task.clone());
        self.questions.retain(|(_, of, _)| of != task);
        for (_, of) in &mut self.held {
            if of.as_ref() == Some(task) {
                *of = None;
            }
        }
    }
}

struct World {
    house: Option<House>,
    model: Model,
}

impl World {
    fn house(&self) -> &House {
        self.house.as_ref().unwrap()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Open => self.open().await,
            Step::Ask { task, text } => self.ask(task, text).await,
            Step::Approve { question, by } => self.approve(question, by).await,
            Step::Deny { question } => self.deny(question).await,
            Step::Pay { task } => self.pay(task).await,
            Step::Send { task, text } => self.send(task, text).await,
            Step::Settle { held, forwarded } => self.settle(held, forwarded).await,
            Step::Close { task, is_full } => self.close(task, is_full).await,
            Step::Lock { target, task } => self.lock(target, task).await,
            Step::Lift { lock } => self.lift(lock).await,
            Step::Pass { s } => self.pass(s).await,
            Step::Restart => self.restart().await,
        }
    }

    async fn open(&mut self) {
        let opened =
            self.house().open(&[read(), pay(json!({ "uses": USES })), allow("send")]).await;
        let is_locked = self
            .model
            .locks
            .iter()
            .any(|(_, target)| matches!(target, LockTarget::Agent(_) | LockTarget::Everything));
        match opened {
            Ok(task) => {
                assert!(!is_locked, "opened under a lock");
                self.model.tasks.insert(task, 0);
            }
            Err(error) => assert!(is_locked, "{error}"),
        }
    }

    async fn ask(&mut self, task: usize, text: u8) {
        let Some(task) = self.model.task(task) else { return };
        if let Ok(id) = self.house().ask(&task, "send", json!({ "text": text })).await {
            assert!(!self.model.is_locked(&task));
            if self.model.questions.iter().all(|(known, _, _)| *known != id) {
                self.model.questions.push((id, task, ApprovalState::Asked));
            }
        }
    }

    async fn approve(&mut self, question: usize, by: &str) {
        let Some((id, task, state)) = self.model.questions.get(question).cloned() else { return };
        let answered = self.house().broker.approve(&id, &user(by)).await;
        // ana is not named and eve is the subject; what is answered stays so; a lock stops it.
        let may = matches!(by, "bo" | "cy")
            && state == ApprovalState::Asked
            && !self.model.is_locked(&task);
        assert_eq!(answered.is_ok(), may, "{id} by {by}: {answered:?}");
        if may {
            self.model.questions[question].2 = ApprovalState::Approved;
        }
    }

    async fn deny(&mut self, question: usize) {
        let Some((id, _, state)) = self.model.questions.get(question).cloned() else { return };
        let answered = self.house().broker.deny(&id, &user("ana")).await;
        assert_eq!(answered.is_ok(), state == ApprovalState::Asked, "{id}: {answered:?}");
        if answered.is_ok() {
            self.model.questions[question].2 = ApprovalState::Denied;
        }
    }

    async fn pay(&mut self, task: usize) {
        let Some(task) = self.model.task(task) else { return };
        let reserved = self.house().reserve(&task, "pay", json!({})).await;
        let spent = self.model.tasks[&task];
        let expected = match (self.model.is_locked(&task), spent < USES) {
            (true, _) => Err(Reason::Locked),
            (false, true) => Ok(()),
            (false, false) => Err(Reason::GrantSpent),
        };
        assert_eq!(reserved.as_ref().map(drop).map_err(|reason| *reason), expected);
        if let Ok(held) = reserved {
            *self.model.tasks.get_mut(&task).unwrap() += 1;
            self.model.held.push((held, Some(task)));
        }
    }

    /// Sends what people said yes to, once for each yes.
    async fn send(&mut self, task: usize, text: u8) {
        let Some(task) = self.model.task(task) else { return };
        let approved = |(_, of, state): &(ApprovalId, TaskId, ApprovalState)| {
            *of == task && *state == ApprovalState::Approved
        };
        let before = self.model.questions.iter().filter(|known| approved(known)).count();
        if let Ok(held) = self.house().reserve(&task, "send", json!({ "text": text })).await {
            assert!(!self.model.is_locked(&task));
            assert!(before > 0, "sent, and nobody said yes");
            self.house().settle(&held, true).await.unwrap();
            let again = self.house().reserve(&task, "send", json!({ "text": text })).await;
            let mine = |known: &&(ApprovalId, TaskId, ApprovalState)| approved(known);
            let yes = self.model.questions.iter().filter(mine).count();
            assert!(again.is_err() || yes > 1, "one yes was used twice");
            if let Ok(held) = again {
                self.house().settle(&held, false).await.unwrap();
            }
        }
    }

    async fn settle(&mut self, held: usize, forwarded: bool) {
        if held >= self.model.held.len() {
            return;
        }
        let (id, task) = self.model.held.remove(held);
        self.house().settle(&id, forwarded).await.unwrap();
        if let (Some(task), false) = (task, forwarded) {
            *self.model.tasks.get_mut(&task).unwrap() -= 1;
        }
        let again = self.house().settle(&id, false).await;
        assert!(matches!(again, Err(BrokerError::Missing { .. })), "settled twice");
    }

    /// Closes a task; where the store is full, in memory first.
    async fn close(&mut self, task: usize, is_full: bool) {
        let Some(task) = self.model.task(task) else { return };
        let house = self.house();
        house.store.is_full.store(is_full, Ordering::Relaxed);
        let done = house.close(&task).await.unwrap();
        assert_eq!(done.revision.is_some(), !is_full);
        assert!(house.broker.view().snapshot.task(&task).is_none());
        house.store.is_full.store(false, Ordering::Relaxed);
        while house.broker.is_holding() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        house.broker.freshen().await.unwrap();
        self.model.close(&task);
    }

    async fn lock(&mut self, target: u8, task: usize) {
        let target = match (target, self.model.task(task)) {
            (0, _) => LockTarget::Everything,
            (1, _) => LockTarget::Agent(agent("desk-agent")),
            (2, _) => LockTarget::Resource("desk".parse().unwrap()),
            (_, Some(task)) => LockTarget::Task(task),
            (_, None) => return,
        };
        // A lock on a resource stops calls there; answering questions and settling go on.
        if matches!(target, LockTarget::Resource(_)) {
            return;
        }
        let set = self.house().broker.set_lock(target.clone(), "x".into(), &user("ana")).await;
        self.model.locks.push((set.unwrap().0, target));
    }

    async fn lift(&mut self, lock: usize) {
        if lock < self.model.locks.len() {
            let (id, _) = self.model.locks.remove(lock);
            self.house().broker.lift_lock(&id, &user("ana")).await.unwrap();
        }
    }

    async fn pass(&mut self, s: i64) {
        self.house().hand.pass_s(s);
        self.house().broker.sweep().await.unwrap();
        // What is over by its time is over in the model; its own questions with it.
        let view = self.house().broker.view();
        let gone: Vec<TaskId> = self
            .model
            .tasks
            .keys()
            .filter(|task| view.snapshot.task(task).is_none())
            .cloned()
            .collect();
        let now = self.house().now();
        for task in gone {
            self.model.close(&task);
        }
        for view in view.snapshot.tasks.values() {
            assert!(now < view.task.deadline, "{} is past its deadline", view.task.id);
        }
        for question in &mut self.model.questions {
            let state = self.house.as_ref().unwrap().broker.approval(&question.0).unwrap().state;
            let lapsed = state == ApprovalState::Expired && question.2 == ApprovalState::Asked;
            assert!(state == question.2 || lapsed, "{state:?} was {:?}", question.2);
            question.2 = state;
        }
    }

    async fn restart(&mut self) {
        let house = self.house.take().unwrap();
        self.house = Some(house.restart().await);
        // What was set aside and not settled stays spent, and is nobody's any more.
        self.model.held.clear();
    }

    async fn check(&self) {
        let house = self.house();
        let view = house.broker.view();
        invariant::check_snapshot(&view.snapshot).unwrap();
        let tasks: Vec<&TaskId> = view.snapshot.tasks.keys().collect();
        assert_eq!(tasks, self.model.tasks.keys().collect::<Vec<_>>());
        assert_eq!(view.snapshot.locks.len(), self.model.locks.len());
        for (task, spent) in &self.model.tasks {
            let held = view.snapshot.task(task).unwrap();
            let paying = held.grants.iter().find(|grant| grant.allowance.uses == Some(USES));
            assert_eq!(paying.unwrap().uses_spent, *spent, "{task}");
            let is_permitted = house.kind(task, "read_ticket", json!({})).await;
            let expected = match self.model.is_locked(task) {
                true => DecisionKind::Deny,
                false => DecisionKind::Permit,
            };
            assert_eq!(is_permitted, expected, "{task}");
        }
        for (id, _, state) in &self.model.questions {
            assert_eq!(house.broker.approval(id).unwrap().state, *state);
        }
    }

    /// Everything that was done is in the ledger, once.
    fn check_ledger(&self) {
        let mut said = BTreeMap::<(String, String), usize>::new();
        let mut decided = BTreeMap::<String, usize>::new();
        for leaf in self.house().leaves() {
            if leaf.kind() == carnet_ledger::Kind::Decision {
                *decided.entry(leaf.id().to_owned()).or_default() += 1;
            }
            let word = leaf.header().get("transition").and_then(Value::as_str).unwrap_or("");
            *said.entry((leaf.id().to_owned(), word.to_owned())).or_default() += 1;
        }
        assert!(decided.values().all(|count| *count == 1), "a decision is recorded twice");
        let count = |id: &TaskId, word: &str| {
            said.get(&(id.to_string(), word.to_owned())).copied().unwrap_or(0)
        };
        for task in self.model.tasks.keys() {
            assert_eq!((count(task, "opened"), count(task, "closed")), (1, 0));
        }
        for task in &self.model.closed {
            assert_eq!((count(task, "opened"), count(task, "closed")), (1, 1), "{task}");
        }
    }
}

async fn run(steps: Vec<Step>) {
    let mut world = World { house: Some(House::furnished().await), model: Model::default() };
    // The running copy is known before anything is locked.
    world.open().await;
    let task = world.model.task(0).unwrap();
    world.house().instance("desk-agent", &task).await;
    for step in steps {
        world.take(step).await;
        world.check().await;
    }
    world.restart().await;
    world.check().await;
    world.house().drained().await;
    world.check_ledger();
    world.house.take().unwrap().stop().await.verify_ledger();
}

#[test]
fn whatever_is_done_in_whatever_order_the_invariants_hold() {
    let config = Config {
        cases: CASES,
        max_shrink_iters: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(run(steps));
        Ok(())
    });
    outcome.unwrap();
}
