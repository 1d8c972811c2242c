//! Random trees of tasks, six levels deep, against a model of what each may do and has left.

use std::sync::Arc;

use super::*;
use crate::{Agent, Caller, Charge, Task};

const LEVELS: u32 = 6;
const ROOT: Asked = Asked { orders: 0b1111, at_most: 400, uses: 12, total: 2_000 };

/// What is asked for a child task, as plain numbers.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// A bit for each of four orders.
    orders: u8,
    at_most: i64,
    uses: u64,
    total: i64,
}

/// What a task may do and has left, by the model.
struct Node {
    task: crate::TaskId,
    parent: Option<usize>,
    depth: u32,
    left: Asked,
}

struct Tree {
    snapshot: Snapshot,
    nodes: Vec<Node>,
    used: u64,
    spent: i64,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// The task in this place hands on.
    HandOn { from: usize, asked: Asked },
    /// The task in this place refunds.
    Refund { by: usize, order: u8, cents: i64 },
}

fn events() -> impl Strategy<Value = Event> {
    // Small parts, so that trees grow deep before they are empty.
    let asked = (1_u8..16, 100_i64..450, 1_u64..6, 0_i64..900)
        .prop_map(|(orders, at_most, uses, total)| Asked { orders, at_most, uses, total });
    let narrow = (1_u8..16).prop_map(|orders| Asked { orders, at_most: 100, uses: 1, total: 50 });
    let place = prop_oneof![0_usize..24, Just(usize::MAX)];
    prop_oneof![
        (place.clone(), asked).prop_map(|(from, asked)| Event::HandOn { from, asked }),
        (place.clone(), narrow).prop_map(|(from, asked)| Event::HandOn { from, asked }),
        (place, 0_u8..4, 0_i64..450).prop_map(|(by, order, cents)| Event::Refund {
            by,
            order,
            cents
        }),
    ]
}

fn allowance(asked: Asked) -> Value {
    let orders: Vec<String> = (0..4).filter(|n| asked.orders & (1 << n) != 0).map(order).collect();
    json!({
        "action": "desk.tool.issue_refund", "path": "write", "uses": asked.uses,
        "where": { "order_id": { "one_of": orders }, "amount_cents": { "at_most": asked.at_most } },
        "total": { "amount_cents": asked.total },
    })
}

fn order(n: u8) -> String {
    format!("O-{n}")
}

impl Tree {
    fn new() -> Self {
        let grant = fixture::grant("grant_1", fixture::allowance(allowance(ROOT)));
        let snapshot = fixture::snapshot(vec![grant]);
        let task = "task_1".parse().unwrap();
        let root = Node { task, parent: None, depth: 0, left: ROOT };
        Self { snapshot, nodes: vec![root], used: 0, spent: 0 }
    }

    fn place(&self, n: usize) -> usize {
        if n == usize::MAX { self.nodes.len() - 1 } else { n % self.nodes.len() }
    }

    fn hand_on(&mut self, from: usize, asked: Asked) {
        let from = self.place(from);
        let node = &self.nodes[from];
        if node.depth >= LEVELS {
            return;
        }
        let view = TaskView::clone(self.snapshot.task(&node.task).unwrap());
        let intent = intent(allowance(asked), json!({}));
        let handed = hand_on(&self.snapshot, &view, &intent, 600, NOW);
        let is_part = asked.orders & !node.left.orders == 0
            && asked.at_most <= node.left.at_most
            && asked.uses <= node.left.uses
            && asked.total <= node.left.total;
        assert_eq!(handed.is_ok(), is_part, "{asked:?} of {:?}: {handed:?}", node.left);
        let Ok(handover) = handed else { return };
        let depth = node.depth + 1;
        let parent = node.task.clone();
        self.nodes[from].left.uses -= asked.uses;
        self.nodes[from].left.total -= asked.total;
        fixture::put_task(&mut self.snapshot, handover.parent, handover.grants);
        let n = self.nodes.len() + 1;
        let task: crate::TaskId = format!("task_{n}").parse().unwrap();
        let agent: crate::AgentName = format!("agent-{n}").parse().unwrap();
        let known = (**self.snapshot.agents.values().next().unwrap()).clone();
        let known = Agent { name: agent.clone(), ..known };
        Arc::make_mut(&mut self.snapshot.agents).insert(agent.clone(), Arc::new(known));
        let cut = &handover.cuts[0];
        let mut grant = fixture::grant(&format!("grant_{n}"), cut.allowance.clone());
        (grant.task, grant.cut_from) = (task.clone(), Some(cut.from.clone()));
        grant.expires = cut.expires;
        let deadline = handover.deadline;
        let child =
            Task { id: task.clone(), agent, parent: Some(parent), depth, deadline, ..view.task };
        fixture::put_task(&mut self.snapshot, child, vec![grant]);
        self.nodes.push(Node { task, parent: Some(from), depth, left: asked });
    }

    fn refund(&mut self, by: usize, n: u8, cents: i64) {
        let by = self.place(by);
        let arguments = json!({ "order_id": order(n), "amount_cents": cents });
        let operation = fixture::operation("issue_refund", arguments);
        let task = self.nodes[by].task.clone();
        let agent = self.snapshot.task(&task).unwrap().task.agent.clone();
        let instances = Arc::make_mut(&mut self.snapshot.instances);
        for instance in instances.values_mut() {
            Arc::make_mut(instance).agent = agent.clone();
        }
        let caller = Caller { agent, task: task.clone(), ..fixture::caller(crate::Path::Write) };
        let now = fixture::NOW;
        let decision = assess(&self.snapshot, &fixture::permitting(), &operation, &caller, now);
        crate::invariant::check_decision(&self.snapshot, &operation, &caller, now, &decision)
            .unwrap();
        let left = self.nodes[by].left;
        let may = left.orders & (1 << n) != 0
            && cents <= left.at_most
            && left.uses >= 1
            && cents <= left.total;
        let is_permitted = decision.kind == DecisionKind::Permit;
        assert_eq!(is_permitted, may, "{left:?}: {:?} {:?}", decision.reasons, decision.misses);
        if !is_permitted {
            return;
        }
        self.check_every_ancestor(by, n, cents);
        let view = TaskView::clone(self.snapshot.task(&task).unwrap());
        let Charge { amounts, .. } = decision.cover.unwrap().charges[0].clone();
        let grant = view.grants[0].clone().apply(GrantEvent::Reserve(amounts), NOW).unwrap().0;
        fixture::put_task(&mut self.snapshot, view.task, vec![grant]);
        let left = &mut self.nodes[by].left;
        (left.uses, left.total) = (left.uses - 1, left.total - cents);
        (self.used, self.spent) = (self.used + 1, self.spent + cents);
    }

    /// What a task may do, every task above it could have handed on.
    fn check_every_ancestor(&self, by: usize, n: u8, cents: i64) {
        let mut above = self.nodes[by].parent;
        while let Some(place) = above {
            let node = &self.nodes[place];
            assert!(node.left.orders & (1 << n) != 0 && cents <= node.left.at_most);
            above = node.parent;
        }
    }

    /// What was done and what all may still do is what the root had.
    fn check_sum(&self) {
        let grants = self.snapshot.tasks.values().map(|view| &view.grants[0]);
        let (mut uses, mut total) = (self.used, self.spent);
        for grant in grants {
            crate::invariant::check_grant(grant).unwrap();
            uses += grant.uses_left().unwrap();
            let ceiling = grant.allowance.total["amount_cents"];
            total += ceiling - grant.totals_spent.get("amount_cents").copied().unwrap_or(0);
        }
        assert_eq!((uses, total), (ROOT.uses, ROOT.total));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// What a leaf may do is a part of what every task above it could hand on, and what all may
    /// still do together with what was done is never more than the root had.
    #[test]
    fn a_tree_of_tasks_never_has_more_than_its_root(
        events in proptest::collection::vec(events(), 1..60)
    ) {
        let mut tree = Tree::new();
        for event in events {
            match event {
                Event::HandOn { from, asked } => tree.hand_on(from, asked),
                Event::Refund { by, order, cents } => tree.refund(by, order, cents),
            }
            tree.check_sum();
        }
    }
}

#[test]
fn a_chain_of_six_levels_works_and_its_last_is_a_part_of_all() {
    let mut tree = Tree::new();
    for level in 0..LEVELS {
        let uses = u64::from(LEVELS - level);
        let asked = Asked { orders: 0b0111, at_most: 300, uses, total: 600 };
        tree.hand_on(usize::MAX, asked);
    }
    assert_eq!(tree.nodes.len(), 7);
    tree.refund(usize::MAX, 3, 10);
    assert_eq!(tree.used, 0, "the fourth order was not handed on");
    tree.refund(usize::MAX, 2, 300);
    assert_eq!((tree.used, tree.spent), (1, 300));
    tree.check_sum();
}
