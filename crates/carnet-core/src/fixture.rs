//! A small world for tests: one agent, one resource, one open task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::decide::Caller;
use crate::*;

pub(crate) const NOW: Now = Now { wall: Timestamp::from_s(1_000), mono: Monotonic::from_us(1_000) };

/// A policy whose verdict is fixed.
pub(crate) struct Fixed(pub Verdict);

impl Policy for Fixed {
    fn digest(&self) -> Digest {
        Digest::of(b"fixed")
    }
    fn judge(&self, _: &Document) -> Verdict {
        self.0.clone()
    }
}

pub(crate) fn verdict(effect: VerdictEffect) -> Verdict {
    let determining = match effect {
        VerdictEffect::Deny => vec![],
        _ => vec!["p".parse().unwrap()],
    };
    Verdict { effect, determining, obligations: vec![], errors: vec![] }
}

pub(crate) fn permitting() -> Fixed {
    Fixed(verdict(VerdictEffect::Permit))
}

pub(crate) fn asking(approvers: &[&str], threshold: u32) -> Fixed {
    Fixed(verdict(VerdictEffect::Ask(terms(approvers, threshold))))
}

/// An engine that takes any name for an approval, as one that cannot see teams does.
pub(crate) struct Credulous(pub ApprovalTerms);

impl Policy for Credulous {
    fn digest(&self) -> Digest {
        Digest::of(b"credulous")
    }
    fn judge(&self, document: &Document) -> Verdict {
        match document.approvals.by.is_empty() {
            true => verdict(VerdictEffect::Ask(self.0.clone())),
            false => verdict(VerdictEffect::Permit),
        }
    }
}

pub(crate) fn terms(approvers: &[&str], threshold: u32) -> ApprovalTerms {
    let approvers = approvers.iter().map(|name| (*name).to_owned()).collect();
    ApprovalTerms { approvers, threshold, timeout_s: 900 }
}

pub(crate) fn task(id: &str) -> Task {
    Task {
        id: id.parse().unwrap(),
        agent: "support-agent".parse().unwrap(),
        subject: Principal::User("ana".parse().unwrap()),
        opened_by: Principal::User("ana".parse().unwrap()),
        purpose: "support".into(),
        standing: false,
        parent: None,
        depth: 0,
        opened_at: Timestamp::from_s(900),
        deadline: Timestamp::from_s(2_000),
        calls_max: None,
        calls_spent: 0,
        children_max: None,
        children: 0,
        levels_max: None,
        opened_with: None,
        marked: false,
        state: TaskState::Open,
        suspension: None,
    }
}

pub(crate) fn allowance(value: Value) -> Allowance {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn grant(id: &str, allowance: Allowance) -> Grant {
    Grant {
        id: id.parse().unwrap(),
        task: "task_1".parse().unwrap(),
        allowance,
        expires: Timestamp::from_s(2_000),
        uses_spent: 0,
        totals_spent: BTreeMap::new(),
        approved: None,
        draws_on: None,
        cut_from: None,
        state: GrantState::Active,
    }
}

pub(crate) fn question(amount: i64) -> Question {
    let Value::Object(arguments) = json!({ "order_id": "O-1", "amount_cents": amount }) else {
        unreachable!()
    };
    Question {
        task: "task_1".parse().unwrap(),
        instance: Some(InstanceId::from_bits(1)),
        of: Asked::Use {
            action: "desk.tool.issue_refund".parse().unwrap(),
            resource: "desk".parse().unwrap(),
            path: Path::Write,
            effect: EffectClass { reversible: false, reach: Reach::Inside },
            pin: Digest::of(b"issue_refund"),
            arguments: arguments.try_into().unwrap(),
            draws_on: None,
        },
        nonce: "0".repeat(32),
        expires: Timestamp::from_s(1_900),
    }
}

pub(crate) fn approval(approvers: &[&str], threshold: u32) -> Approval {
    let question = question(500);
    Approval {
        id: ApprovalId::from_bits(1),
        digest: question.digest().unwrap(),
        expires: question.expires,
        question,
        terms: terms(approvers, threshold),
        decision: None,
        policy: Digest::of(b"fixed"),
        asked_at: Timestamp::from_s(1_000),
        answers: vec![],
        state: ApprovalState::Asked,
    }
}

fn registered(name: &str, path: Path) -> (ActionName, Registered) {
    let action: ActionName = format!("desk.tool.{name}").parse().unwrap();
    let registered = Registered {
        action: action.clone(),
        path,
        effect: EffectClass { reversible: path == Path::Read, reach: Reach::Inside },
        arguments: BTreeMap::new(),
        pin: Digest::of(name.as_bytes()),
        definition: Value::Null,
    };
    (action, registered)
}

pub(crate) fn desk() -> Resource {
    Resource {
        name: "desk".parse().unwrap(),
        environment: "demo".into(),
        labels: BTreeSet::new(),
        upstream: Upstream {
            transport: Transport::Http { url: "http://127.0.0.1:1/mcp".into() },
            credentials: BTreeMap::new(),
        },
        operations: [registered("get_ticket", Path::Read), registered("issue_refund", Path::Write)]
            .into(),
    }
}

pub(crate) fn operation(name: &str, arguments: Value) -> Operation {
    let Value::Object(arguments) = arguments else { unreachable!() };
    let desk = desk();
    let action = format!("desk.tool.{name}").parse().unwrap();
    Operation::new(
        desk.name.clone(),
        desk.registered(&action).unwrap(),
        arguments.try_into().unwrap(),
    )
    .unwrap()
}

pub(crate) fn caller(path: Path) -> Caller {
    Caller {
        agent: "support-agent".parse().unwrap(),
        instance: InstanceId::from_bits(1),
        task: "task_1".parse().unwrap(),
        path,
        resource: "desk".parse().unwrap(),
        token: "jti".into(),
        key: String::new(),
        expires: Timestamp::from_s(1_100),
        thumbprint: Some("thumb".into()),
    }
}

/// A snapshot with `task_1` open and holding `grants`.
pub(crate) fn snapshot(grants: Vec<Grant>) -> Snapshot {
    let agent = Agent {
        name: "support-agent".parse().unwrap(),
        owner: "team:support".parse().unwrap(),
        environment: "demo".into(),
        selectors: Some(Selectors { uid: 1, gid: None, executable: None, executable_digest: None }),
        identities: Vec::new(),
        standing: None,
        bearer_read: false,
    };
    let instance = Instance {
        id: InstanceId::from_bits(1),
        agent: agent.name.clone(),
        thumbprint: Some("thumb".into()),
        seen_at: NOW.wall,
        marked: false,
    };
    let user = |name: &str, team: &str| {
        let name: UserName = name.parse().unwrap();
        let user = User { name: name.clone(), teams: [team.to_owned()].into(), logins: Vec::new() };
        (name, Arc::new(user))
    };
    let mut snapshot = Snapshot {
        revision: 1,
        fresh_until: Monotonic::from_us(1_000_000),
        agents: Arc::new([(agent.name.clone(), Arc::new(agent))].into()),
        instances: Arc::new([(instance.id.clone(), Arc::new(instance))].into()),
        users: Arc::new(
            [user("ana", "sales"), user("bo", "finance"), user("cy", "finance")].into(),
        ),
        resources: Arc::new([("desk".parse().unwrap(), Arc::new(desk()))].into()),
        ..Snapshot::default()
    };
    put_task(&mut snapshot, task("task_1"), grants);
    snapshot
}

pub(crate) fn put_task(snapshot: &mut Snapshot, task: Task, grants: Vec<Grant>) {
    let view = TaskView { task, grants, questions_pending: 0 };
    Arc::make_mut(&mut snapshot.tasks).insert(view.task.id.clone(), Arc::new(view));
}
