//! What a verdict costs, with few policies and with many.
//!
//! `cargo run --release -p carnet-policy --example policy_cost`
//!
//! Each set has 8 policies in no scope (the floor every request pays) and otherwise policies scoped
//! to an agent, a team or a resource; all have conditions. A call has six arguments and meets
//! about a dozen of them.

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

fn main() {
    let mut medians = Vec::new();
    for policies in [100, 10_000] {
        let source = policy_set(policies);
        let began = Instant::now();
        let policy = match CedarPolicy::load(&source) {
            Ok(policy) => policy,
            Err(errors) => return eprintln!("{errors}"),
        };
        println!("{policies} policies: loaded in {:?}", began.elapsed());
        for (name, document, expected) in documents() {
            let verdict = policy.judge(&document);
            assert!(expected(&verdict.effect), "{name}: {verdict:?}");
            let times = measure(&policy, &document);
            let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
            let determining = verdict.determining.len();
            println!("  {name:<7} p50 {p50:>10.1?}  p99 {p99:>10.1?}  ({determining} determining)");
            medians.push((name, p50));
        }
    }
    for (few, many) in medians.iter().zip(medians.iter().skip(medians.len() / 2)) {
        let flatness = many.1.as_secs_f64() / few.1.as_secs_f64();
        println!("flatness {}: {flatness:.2}", few.0);
    }
}

fn measure(policy: &CedarPolicy, document: &Document) -> Vec<Duration> {
    for _ in 0..WARM_UP {
        black_box(policy.judge(black_box(document)));
    }
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            black_box(policy.judge(black_box(document)));
            began.elapsed()
        })
        .collect();
    times.sort();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

type Expected = fn(&VerdictEffect) -> bool;

fn documents() -> [(&'static str, Document, Expected); 3] {
    let mut ask = call();
    if let Some(task) = &mut ask.task {
        task.marked = true;
    }
    let mut deny = call();
    deny.principal.environment = "staging".into();
    [
        ("permit", call(), |e| *e == VerdictEffect::Permit),
        ("ask", ask, |e| matches!(e, VerdictEffect::Ask(_))),
        ("deny", deny, |e| *e == VerdictEffect::Deny),
    ]
}

fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("the names here are well formed")
}

fn call() -> Document {
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
            principal: Principal::Agent(name("agent-7")),
            teams: vec!["support".into(), "team-7".into()],
            owner: "team:support".into(),
            environment: "production".into(),
        },
        verb: Verb::McpWrite,
        target: Target::Operation {
            action: name("resource-7.tool.issue_refund"),
            resource: name("resource-7"),
            environment: "production".into(),
            labels: vec!["customer-data".into(), "task-write".into()],
            effect: EffectClass { reversible: true, reach: Reach::Inside },
            path: Path::Write,
        },
        task: Some(TaskFacts {
            purpose: "refund".into(),
            agent: name("agent-7"),
            subject: Principal::User(name("ana")),
            opened_by: Principal::User(name("ana")),
            standing: false,
            depth: 1,
            marked: false,
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
            0 => ("permit", format!(
                "permit (principal == Carnet::Agent::\"agent-{k}\", action in Carnet::Action::\"write\", resource in Carnet::Resource::\"resource-{k}\")\n\
                 when {{ [\"refund\", \"support\"].contains(context.task.purpose) && context.number.hasTag(\"amount_cents\") && context.number.getTag(\"amount_cents\") <= 5000 }};\n")),
            1 => ("permit", format!(
                "@obligation(\"result_bytes_max=65536\")\npermit (principal in Carnet::Team::\"team-{k}\", action in Carnet::Action::\"call\", resource)\n\
                 when {{ resource.labels.contains(\"customer-data\") }} unless {{ context.task.standing }};\n")),
            2 => ("ask", format!(
                "@approvers(\"owner\")\n@threshold(\"1\")\nforbid (principal, action in Carnet::Action::\"write\", resource in Carnet::Resource::\"resource-{k}\")\n\
                 when {{ context.task.marked || !resource.reversible }};\n")),
            _ => ("forbid", format!(
                "forbid (principal is Carnet::Agent, action in Carnet::Action::\"call\", resource == Carnet::Operation::\"resource-{k}.tool.issue_refund\")\n\
                 when {{ context.text.hasTag(\"currency\") && context.text.getTag(\"currency\") != \"EUR\" }};\n")),
        };
        let file = files.entry(format!("{file}/part-{part}.cedar")).or_default();
        file.push_str(&format!("@id(\"policy-{n}\")\n{text}"));
    }
    PolicySource::from_files(files).expect("the set is within bounds")
}
