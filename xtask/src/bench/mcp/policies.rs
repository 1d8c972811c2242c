//! A policy set as a house of some size would have: a hundred rules, of which a call meets a dozen.
//!
//! Eight rules name no scope and are looked at for every request; the others are scoped to an agent,
//! a team or a resource, and all have conditions.

use std::collections::BTreeMap;

/// How many rules there are.
pub(super) const RULES: usize = 100;
/// How many of them every request meets.
const GUARDS: usize = 8;

const OPERATORS: &str = r#"@id("lab-operates")
permit (principal in Carnet::Team::"lab", action in Carnet::Action::"operate", resource);

@id("lab-opens-tasks")
permit (
  principal in Carnet::Team::"lab", action == Carnet::Action::"task.open", resource
) when { context.task.agent == Carnet::Agent::"load" };
"#;

const LOAD: &str = r#"@id("load-reads-echo")
@obligation("result_bytes_max=1048576")
permit (
  principal == Carnet::Agent::"load", action in Carnet::Action::"read",
  resource in Carnet::Resource::"echo"
) when {
  ["measure what a call costs", "support"].contains(context.task.purpose) &&
  context.text.hasTag("text")
};

@id("lab-calls-customer-data")
@obligation("result_bytes_max=65536")
permit (principal in Carnet::Team::"lab", action in Carnet::Action::"call", resource)
when { resource.labels.contains("customer-data") } unless { context.task.standing };
"#;

const ECHO_ASK: &str = r#"@id("echo-marked-asks")
@approvers("owner")
forbid (
  principal is Carnet::Agent, action in Carnet::Action::"call",
  resource in Carnet::Resource::"echo"
) when { context.task.marked || !resource.reversible };
"#;

const ECHO_FORBID: &str = r#"@id("echo-one-currency")
forbid (
  principal is Carnet::Agent, action in Carnet::Action::"call",
  resource == Carnet::Operation::"echo.tool.echo"
) when { context.text.hasTag("currency") && context.text.getTag("currency") != "EUR" };
"#;

/// The set: names of files with their text.
pub(super) fn files() -> Vec<(String, String)> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for (name, text) in [
        ("permit/operators.cedar", OPERATORS),
        ("permit/load.cedar", LOAD),
        ("ask/echo.cedar", ECHO_ASK),
        ("forbid/echo.cedar", ECHO_FORBID),
    ] {
        files.insert(name.to_owned(), text.to_owned());
    }
    for number in 0..GUARDS {
        files.entry("forbid/guards.cedar".to_owned()).or_default().push_str(&guard(number));
    }
    let own = files.values().map(|text| text.matches("@id(").count()).sum::<usize>();
    for number in 0..RULES.saturating_sub(own) {
        let (folder, rule) = others(number);
        let file = files.entry(format!("{folder}/others.cedar")).or_default();
        file.push_str(&format!("@id(\"rule-{number}\")\n{rule}\n"));
    }
    files.into_iter().collect()
}

fn guard(number: usize) -> String {
    format!(
        "@id(\"guard-{number}\")\n\
         forbid (principal is Carnet::Agent, action, resource is Carnet::Operation)\n\
         when {{ context.task.depth > {} || principal.environment != resource.environment }}\n\
         unless {{ resource.labels.contains(\"open-{number}\") }};\n",
        number + 3
    )
}

/// A rule about somebody else: four to each of the agents and resources of the house.
fn others(number: usize) -> (&'static str, String) {
    let k = number / 4;
    match number % 4 {
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
                "@approvers(\"owner\")\nforbid (principal, action in Carnet::Action::\"write\", resource in Carnet::Resource::\"resource-{k}\")\n\
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_a_hundred_rules_with_names_of_their_own() {
        let text: String = files().into_iter().map(|(_, text)| text).collect();
        let ids: std::collections::BTreeSet<&str> =
            text.lines().filter(|line| line.starts_with("@id(")).collect();
        assert_eq!((ids.len(), text.matches("@id(").count()), (RULES, RULES));
    }
}
