//! Documents and policy sets for tests, fixed and random. Few names, so that they often meet.

use std::collections::BTreeMap;

use carnet_core::{
    ApprovalFacts, Document, EffectClass, Path, Principal, PrincipalFacts, Reach, Target,
    TaskFacts, Timestamp, Verb,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use crate::PolicySource;

/// An agent's call of a refund, on a task a person opened.
pub(crate) fn refund() -> Document {
    Document {
        principal: PrincipalFacts {
            principal: Principal::Agent("support-agent".parse().unwrap()),
            teams: vec!["support".into()],
            owner: "team:support".into(),
            environment: "demo".into(),
        },
        verb: Verb::McpWrite,
        target: Target::Operation {
            action: "desk.tool.issue_refund".parse().unwrap(),
            resource: "desk".parse().unwrap(),
            environment: "demo".into(),
            labels: vec!["task-write".into()],
            effect: EffectClass { reversible: false, reach: Reach::Inside },
            path: Path::Write,
        },
        task: Some(TaskFacts {
            purpose: "refund".into(),
            agent: "support-agent".parse().unwrap(),
            subject: Principal::User("ana".parse().unwrap()),
            opened_by: Principal::User("ana".parse().unwrap()),
            standing: false,
            depth: 0,
            marked: false,
        }),
        approvals: ApprovalFacts::default(),
        arguments: serde_json::from_value(
            json!({"order_id": "o-1", "amount_cents": 4200, "reason": "late"}),
        )
        .unwrap(),
        now: Timestamp::from_s(1_764_000_000),
    }
}

/// A set of these files.
pub(crate) fn source(files: &[(&str, &str)]) -> PolicySource {
    let files: BTreeMap<_, _> =
        files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    PolicySource::from_files(files).unwrap()
}

const AGENTS: &[&str] = &["support-agent", "triage-agent"];
const USERS: &[&str] = &["ana", "bo", "cy"];
const TEAMS: &[&str] = &["support", "finance", "operators"];
const LABELS: &[&str] = &["task-read", "task-write", "unsplit"];
const OPERATIONS: &[(&str, &str)] = &[
    ("desk", "desk.tool.issue_refund"),
    ("desk", "desk.tool.get_ticket"),
    ("wiki", "wiki.tool.get"),
];

fn names(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(of, 0..=of.len()).prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn party() -> impl Strategy<Value = Principal> {
    prop_oneof![
        select(AGENTS).prop_map(|n| Principal::Agent(n.parse().unwrap())),
        select(USERS).prop_map(|n| Principal::User(n.parse().unwrap())),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-10_i64..10_000).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-c/~#]{0,2}", inner, 0..3)
                .prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn arguments() -> impl Strategy<Value = carnet_core::Arguments> {
    let name = select(&["amount_cents", "order_id", "to", "a/b"][..]);
    proptest::collection::btree_map(name, value(), 0..4).prop_map(|members| {
        let members: Map<_, _> = members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        serde_json::from_value(Value::Object(members)).unwrap()
    })
}

fn task() -> impl Strategy<Value = TaskFacts> {
    let purpose = select(&["refund", "support", "\"odd\\ purpose\u{1f600}"][..]);
    let flags = (any::<bool>(), any::<bool>(), prop_oneof![0_u32..5, Just(u32::MAX)]);
    (purpose, select(AGENTS), party(), party(), flags).prop_map(
        |(purpose, agent, subject, opened_by, (standing, marked, depth))| TaskFacts {
            purpose: purpose.to_owned(),
            agent: agent.parse().unwrap(),
            subject,
            opened_by,
            standing,
            depth,
            marked,
        },
    )
}

/// Documents whose parts fit together.
pub(crate) fn documents() -> impl Strategy<Value = Document> {
    let facts = (names(TEAMS), names(LABELS), names(USERS), select(&["demo", "live"][..]));
    let effect = (any::<bool>(), any::<bool>(), select(&Path::ALL[..]));
    let ends = (party(), select(&Verb::ALL[..]), select(OPERATIONS));
    let rest = (task(), arguments(), -62_000_000_000_i64..250_000_000_000);
    (facts, effect, ends, rest).prop_map(|(facts, effect, ends, (task, arguments, now))| {
        let (teams, labels, by, environment) = facts;
        let (reversible, egress, path) = effect;
        let (principal, verb, (resource, action)) = ends;
        let path = match verb {
            Verb::McpRead => Path::Read,
            Verb::McpWrite => Path::Write,
            Verb::McpAdmin => Path::Admin,
            _ => path,
        };
        let operate = verb.groups() == ["operate"];
        let principal = match verb {
            _ if operate => Principal::User("ana".parse().unwrap()),
            Verb::ApprovalDecide => Principal::User("bo".parse().unwrap()),
            Verb::TaskOpen => principal,
            _ => Principal::Agent("support-agent".parse().unwrap()),
        };
        let reach = if egress { Reach::Egress } else { Reach::Inside };
        let target = Target::Operation {
            action: action.parse().unwrap(),
            resource: resource.parse().unwrap(),
            environment: environment.to_owned(),
            labels,
            effect: EffectClass { reversible, reach },
            path,
        };
        Document {
            principal: PrincipalFacts {
                principal,
                teams,
                owner: "team:support".into(),
                environment: "demo".into(),
            },
            verb,
            target: if operate { Target::House } else { target },
            task: (!operate).then_some(task),
            approvals: ApprovalFacts { by: by.iter().map(|n| n.parse().unwrap()).collect() },
            arguments,
            now: Timestamp::from_s(now),
        }
    })
}

/// Scopes and conditions that validate whatever is combined with whatever.
const PRINCIPALS: &[&str] = &[
    "principal",
    "principal is Carnet::Agent",
    "principal == Carnet::Agent::\"support-agent\"",
    "principal in Carnet::Team::\"support\"",
    "principal is Carnet::Agent in Carnet::Team::\"finance\"",
];
const ACTIONS: &[&str] = &[
    "action in Carnet::Action::\"call\"",
    "action in [Carnet::Action::\"read\", Carnet::Action::\"task.open\"]",
    "action == Carnet::Action::\"mcp.write\"",
    "action in [Carnet::Action::\"write\", Carnet::Action::\"mcp.write\", Carnet::Action::\"call\"]",
    "action == Carnet::Action::\"task.open\"",
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource is Carnet::Operation",
    "resource in Carnet::Resource::\"desk\"",
    "resource == Carnet::Operation::\"desk.tool.issue_refund\"",
    "resource is Carnet::Operation in Carnet::Resource::\"wiki\"",
];
const CONDITIONS: &[&str] = &[
    "",
    "when { context.task.marked }",
    "unless { resource.labels.contains(\"task-write\") }",
    "when { context.number.hasTag(\"amount_cents\") && context.number.getTag(\"amount_cents\") < 5000 }",
    // Overflows for large amounts: a policy that fails.
    "when { context.number.hasTag(\"amount_cents\") && context.number.getTag(\"amount_cents\") * 1000000000000000000 > 0 }",
    "unless { context.approvals.by.contains(Carnet::User::\"ana\") && context.approvals.count >= 2 }",
    "when { context.task has subject_user && context.task.subject_user == Carnet::User::\"ana\" }",
    "when { context.now > datetime(\"2024-01-01\") }",
];

fn policy(tier: &'static str) -> impl Strategy<Value = (&'static str, String)> {
    let terms = select(
        &["owner", "owner,user:ana,user:bo", "user:ana", "user:ana,user:bo,team:finance"][..],
    );
    let scope = (select(PRINCIPALS), select(ACTIONS), select(RESOURCES), select(CONDITIONS));
    (scope, terms, 1..3_u32).prop_map(move |((p, a, r, c), approvers, threshold)| {
        // A threshold no one person can reach would rightly be refused.
        let threshold = if approvers == "user:ana" { 1 } else { threshold };
        let (effect, annotations) = match tier {
            "permit" => ("permit", format!("@obligation(\"result_bytes_max={threshold}\")")),
            "ask" => ("forbid", format!("@approvers(\"{approvers}\") @threshold(\"{threshold}\")")),
            _ => ("forbid", String::new()),
        };
        (tier, format!("{annotations} {effect}({p}, {a}, {r}) {c};\n"))
    })
}

/// Sets of up to `most` policies over all tiers.
pub(crate) fn sources(most: usize) -> impl Strategy<Value = PolicySource> {
    let any = prop_oneof![5 => policy("permit"), 1 => policy("forbid"), 3 => policy("ask")];
    proptest::collection::vec(any, 1..=most).prop_map(|policies| {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for (n, (tier, text)) in policies.into_iter().enumerate() {
            let file = files.entry(format!("{tier}/all.cedar")).or_default();
            file.push_str(&format!("@id(\"{tier}-{n}\") {text}"));
        }
        PolicySource::from_files(files).unwrap()
    })
}
