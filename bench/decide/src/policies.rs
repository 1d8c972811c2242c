//! Policy sets of any size in which the same few policies concern one call: what a large house has,
//! where most policies are about somebody else.

use std::collections::BTreeMap;

use carnet_policy::{CedarPolicy, PolicySource};

use crate::world::{AGENTS, ATTEMPTED};

/// Policies in no scope, which every call meets.
const GUARDS: usize = 8;
/// How many of each agent's policies there are for one agent.
const KINDS: usize = 4;
/// How many policies go into one file, as people would keep them.
const PER_FILE: usize = 500;

/// A set of exactly `count` policies, compiled.
pub(crate) fn load(count: usize) -> Result<CedarPolicy, String> {
    if count < GUARDS + AGENTS * KINDS {
        return Err(format!("{count} policies are too few for every agent to have its own"));
    }
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for n in 0..GUARDS {
        files.entry("forbid/guards.cedar".into()).or_default().push_str(&guard(n));
    }
    for n in 0..count - GUARDS {
        let (tier, text) = of_agent(n / KINDS, n % KINDS);
        let file = files.entry(format!("{tier}/part-{}.cedar", n / PER_FILE)).or_default();
        file.push_str(&format!("@id(\"policy-{n}\")\n{text}\n"));
    }
    let source = PolicySource::from_files(files).map_err(|error| error.to_string())?;
    CedarPolicy::load(&source).map_err(|errors| errors.to_string())
}

fn guard(n: usize) -> String {
    format!(
        "@id(\"guard-{n}\")
forbid (principal is Carnet::Agent, action, resource is Carnet::Operation)
when {{ context.task.depth > {} || principal.environment != resource.environment }}
unless {{ resource.labels.contains(\"open-{n}\") }};
",
        n + 3
    )
}

fn of_agent(k: usize, kind: usize) -> (&'static str, String) {
    match kind {
        0 => (
            "permit",
            format!(
                "permit (
  principal == Carnet::Agent::\"agent-{k}\",
  action in Carnet::Action::\"write\",
  resource in Carnet::Resource::\"resource-{k}\"
) when {{
  [\"refund\", \"support\"].contains(context.task.purpose) &&
  context.number.hasTag(\"amount_cents\") && context.number.getTag(\"amount_cents\") <= 5000
}};"
            ),
        ),
        1 => (
            "permit",
            format!(
                "@obligation(\"result_bytes_max=65536\")
permit (
  principal in Carnet::Team::\"team-{k}\",
  action in Carnet::Action::\"call\",
  resource
) when {{ resource.labels.contains(\"customer-data\") }} unless {{ context.task.standing }};"
            ),
        ),
        2 => (
            "ask",
            format!(
                "@approvers(\"owner\")
@threshold(\"1\")
forbid (
  principal,
  action in Carnet::Action::\"write\",
  resource in Carnet::Resource::\"resource-{k}\"
) when {{ context.task.marked || !resource.reversible }};"
            ),
        ),
        _ => (
            "forbid",
            format!(
                "forbid (
  principal is Carnet::Agent,
  action in Carnet::Action::\"call\",
  resource == Carnet::Operation::\"resource-{k}.tool.{ATTEMPTED}\"
) when {{
  context.text.hasTag(\"currency\") && context.text.getTag(\"currency\") != \"EUR\"
}};"
            ),
        ),
    }
}
