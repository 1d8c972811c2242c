//! What a verdict costs, with few policies and with many.
//!
//! `cargo run --release -p carnet-policy --example policy_cost`
//!
//! Each set has 8 policies in no scope (the floor every request pays) and otherwise policies scoped
//! to an agent, a team or a resource; all have conditions. A call has six arguments and meets
//! about a dozen of them.
#![expect(clippy::disallowed_methods, reason = "it takes the time; the library never does")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use carnet_core::{
    ApprovalFacts, Document, EffectClass, Path, Policy, Principal, PrincipalFacts, Reach, Target,
    TaskFacts, Timestamp, Verb, VerdictEffect,
};
use carnet_policy::{CedarPolicy, PolicySource};

const ROUNDS: usize = 20_000;
const WARM_UP: usize = 2_000;
/// Agents that both sets have policies for.
const AGENTS: std::ops::Range<usize> = 2..22;

fn main() {
    let (Some(few), Some(many)) = (load(100), load(10_000)) else { return };
    for (case, expected) in CASES {
        let documents: Vec<Document> = AGENTS.map(|k| call(k, case)).collect();
        for policy in [&few, &many] {
            for document in &documents {
                let verdict = policy.judge(document);
                assert!(expected(&verdict.effect), "{case:?}: {verdict:?}");
            }
        }
        let (few, many) = measure([&few, &many], &documents);
        let flatness = percentile(&many, 50).as_secs_f64() / percentile(&few, 50).as_secs_f64();
        for (policies, times) in [(100, &few), (10_000, &many)] {
            let [min, p50, p99] = [0, 50, 99].map(|p| percentile(times, p));
            println!(
                "{case:?}, {policies:>6} policies: min {min:>7.1?} p50 {p50:>7.1?} p99 {p99:>8.1?}"
            );
        }
        println!("{case:?}, flatness of p50: {flatness:.2}");
    }
}

fn load(policies: usize) -> Option<CedarPolicy> {
    let source = policy_set(policies);
    let began = Instant::now();
    let loaded = CedarPolicy::load(&source);
    println!("{policies} policies: loaded in {:?}", began.elapsed());
    loaded.map_err(|errors| eprintln!("{errors}")).ok()
}

/// Times of both sets, taken in turns, so that what else the machine does falls on both alike; and
/// over several agents, so that not one of them has all its policies at hand.
fn measure(policies: [&CedarPolicy; 2], documents: &[Document]) -> (Vec<Duration>, Vec<Duration>) {
    let mut times = [Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS)];
    for round in 0..WARM_UP + ROUNDS {
        for (policy, times) in policies.iter().zip(&mut times) {
            let document = &documents[round % documents.len()];
            let began = Instant::now();
            black_box(policy.judge(black_box(document)));
            let took = began.elapsed();
            if round >= WARM_UP {
                times.push(took);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    let [few, many] = times;
    (few, many)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() - 1) * percent / 100).copied().unwrap_or_default()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Case {
    Permit,
    Ask,
    Deny,
}

type Expected = fn(&VerdictEffect) -> bool;

const CASES: [(Case, Expected); 3] = [
    (Case::Permit, |e| *e == VerdictEffect::Permit),
    (Case::Ask, |e| matches!(e, VerdictEffect::Ask(_))),
    (Case::Deny, |e| *e == VerdictEffect::Deny),
];

fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("the names here are well formed")
}

fn call(k: usize, case: Case) -> Document {
    let arguments = serde_json::json!({
        "order_id": "o-1001",
        "amount_cents": 4200,
        "currency": "EUR",
        "reason": "arrived damaged, customer sent a photograph",
        "notify": true,
        "items": [{"sku": "a-1", "count": 2}],
    });
    Document {
        principal: PrincipalFacts {
            principal: Principal::Agent(name(&format!("agent-{k}"))),
            teams: vec!["support".into(), format!("team-{k}")],
            owner: "team:support".into(),
            environment: if case == Case::Deny { "staging" } else { "production" }.into(),
        },
        verb: Verb::McpWrite,
        target: Target::Operation {
            action: name(&format!("resource-{k}.tool.issue_refund")),
            resource: name(&format!("resource-{k}")),
            environment: "production".into(),
            labels: vec!["customer-data".into(), "task-write".into()],
            effect: EffectClass { reversible: true, reach: Reach::Inside },
            path: Path::Write,
        },
        task: Some(TaskFacts {
            purpose: "refund".into(),
            agent: name(&format!("agent-{k}")),
            subject: Principal::User(name("ana")),
            opened_by: Principal::User(name("ana")),
            standing: false,
            depth: 1,
            marked: case == Case::Ask,
        }),
        approvals: ApprovalFacts::default(),
        arguments: serde_json::from_value(arguments).expect("the arguments are within bounds"),
        now: Timestamp::from_s(1_764_000_000),
    }
}

fn policy_set(policies: usize) -> PolicySource {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for n in 0..8 {
        let text = format!(
            "@id(\"guard-{n}\")\nforbid (principal is Carnet::Agent, action, resource is Carnet::Operation)\n\
             when {{ context.task.depth > {} || principal.environment != resource.environment }}\n\
             unless {{ resource.labels.contains(\"open-{n}\") }};\n",
            n + 3
        );
        files.entry("forbid/guards.cedar".into()).or_default().push_str(&text);
    }
    for n in 0..policies - 8 {
        // A file a few hundred policies, as people who have this many would keep them.
        let part = n / 500;
        let (k, kind) = (n / 4, n % 4);
        let (file, text) = match kind {
            0 => (
                "permit",
                format!(
                    "permit (principal == Carnet::Agent::\"agent-{k}\", action in Carnet::Action::\"write\", resource in Carnet::Resource::\"resource-{k}\")\n\
                 when {{ [\"refund\", \"support\"].contains(context.task.purpose) && context.number.hasTag(\"amount_cents\") && context.number.getTag(\"amount_cents\") <= 5000 }};\n"
                ),
            ),
            1 => (
                "permit",
                format!(
                    "@obligation(\"result_bytes_max=65536\")\npermit (principal in Carnet::Team::\"team-{k}\", action in Carnet::Action::\"call\", resource)\n\
                 when {{ resource.labels.contains(\"customer-data\") }} unless {{ context.task.standing }};\n"
                ),
            ),
            2 => (
                "ask",
                format!(
                    "@approvers(\"owner\")\n@threshold(\"1\")\nforbid (principal, action in Carnet::Action::\"write\", resource in Carnet::Resource::\"resource-{k}\")\n\
                 when {{ context.task.marked || !resource.reversible }};\n"
                ),
            ),
            _ => (
                "forbid",
                format!(
                    "forbid (principal is Carnet::Agent, action in Carnet::Action::\"call\", resource == Carnet::Operation::\"resource-{k}.tool.issue_refund\")\n\
                 when {{ context.text.hasTag(\"currency\") && context.text.getTag(\"currency\") != \"EUR\" }};\n"
                ),
            ),
        };
        let file = files.entry(format!("{file}/part-{part}.cedar")).or_default();
        file.push_str(&format!("@id(\"policy-{n}\")\n{text}"));
    }
    PolicySource::from_files(files).expect("the set is within bounds")
}
