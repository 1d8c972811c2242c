//! What tokens cost: minted and checked in one thread, issued by a running Carnet on a real disk,
//! and exchanged at the first and at the fifth level of a chain of tasks.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::area::Report;
use crate::bench::{Extent, disk, median};
use crate::beside::{self, Beside};
use crate::installation::{self, Installation};
use crate::{process, workspace};

/// How many rounds are run if nothing else is asked for, and at most: one agent may show 4,096
/// SVIDs in five minutes.
const ROUNDS: u32 = 3;
const ROUNDS_MAX: u32 = 7;
/// How long the program may take.
const MEASURED_WITHIN: Duration = Duration::from_secs(280);
/// How many agents the chain of tasks goes through.
const HOPS: usize = 6;
const RESOURCE: &str = "echo";
const REVIEW: [&str; 9] = [
    "resource",
    "review",
    RESOURCE,
    "--read",
    "tool/echo",
    "--inside",
    "tool/echo",
    "--effect",
    "tool/echo=reversible",
];

/// What `bench-identity` prints on its last line, and what the report shows.
const FIGURES: [&str; 21] = [
    "issue_per_s",
    "issue_p50_us",
    "issue_p99_us",
    "issue_dpop_per_s",
    "issue_dpop_p50_us",
    "issue_dpop_p99_us",
    "mint_per_s",
    "mint_p50_us",
    "check_per_s",
    "check_p50_us",
    "check_p99_us",
    "check_dpop_per_s",
    "check_dpop_p50_us",
    "check_dpop_p99_us",
    "exchange_depth1_p50_us",
    "exchange_depth1_p99_us",
    "exchange_depth5_p50_us",
    "exchange_depth5_p99_us",
    "hand_on_depth1_p50_us",
    "hand_on_depth5_p50_us",
    "exchange_is_rfc8693",
];

const INTENT: &str = r#"purpose = "measure what a token costs"
deadline = "1h"

[budget]
depth = 5
fan_out = 64

[[allow]]
action = "echo.tool.echo"
path = "read"
"#;

const POLICY: &str = r#"@id("lab-operates")
permit (principal in Carnet::Team::"lab", action in Carnet::Action::"operate", resource);

@id("lab-opens-tasks")
permit (principal in Carnet::Team::"lab", action == Carnet::Action::"task.open", resource);

@id("hops-read-echo")
permit (
  principal is Carnet::Agent, action in Carnet::Action::"read",
  resource in Carnet::Resource::"echo"
);

@id("hops-hand-on")
permit (
  principal is Carnet::Agent, action == Carnet::Action::"task.delegate",
  resource in Carnet::Resource::"echo"
);
"#;

/// Starts a Carnet of its own and measures it from outside.
pub(crate) fn run() -> anyhow::Result<Report> {
    let rounds = Extent::asked().rounds.unwrap_or(ROUNDS);
    ensure!((1..=ROUNDS_MAX).contains(&rounds), "--rounds: choose 1 to {ROUNDS_MAX}");
    let dir = workspace::root().join("target/bench-identity");
    let ours = ["-p", "carnet", "-p", "bench-peers", "-p", "bench-identity", "--bins"];
    process::run(process::cargo().args(["build", "--release"]).args(ours))?;
    installation::empty_dir(&dir)?;
    let kind = disk::require_real(&dir)?;
    println!("{rounds} rounds, state on {kind}");
    let release = workspace::release();
    let mut upstream = beside::tied(&release.join("echo-upstream"));
    let upstream = Beside::start("upstream", &mut upstream, &dir.join("upstream.log"))?;
    let state = dir.join("carnet");
    installation::empty_dir(&state)?;
    let carnet = Installation::start(&release.join("carnet"), &state)?;
    let task = set_up(&carnet, &upstream.first_line()?)?;
    let before_us = disk::fdatasync_p50_us(&dir)?;
    let mut measured = beside::tied(&release.join("bench-identity"));
    measured.args(["--issuer", carnet.issuer(), "--task", &task]);
    measured.arg("--socket").arg(state.join("run/agent.sock"));
    measured.args(["--domain", "lab.carnet", "--rounds", &rounds.to_string()]);
    let ended = beside::finish(&mut measured, MEASURED_WITHIN)?;
    ensure!(ended.code == 0, "bench-identity failed: {}{}", ended.out, ended.err);
    print!("{}", ended.out);
    let fdatasync_us = median(vec![before_us, disk::fdatasync_p50_us(&dir)?]);
    let mut report = report_of(&ended.out)?;
    report.figure("fdatasync_p50_us", json!((fdatasync_us * 10.0).round() / 10.0));
    Ok(report)
}

/// Registers the agents and the upstream, and opens the task at the root of the chain.
fn set_up(carnet: &Installation, upstream: &str) -> anyhow::Result<String> {
    carnet.activate(&[("permit/lab.cedar".to_owned(), POLICY.to_owned())])?;
    for hop in 0..HOPS {
        carnet.add_agent(&format!("hop-{hop}"), &["--bearer-read"])?;
    }
    carnet.operate(&["resource", "add", RESOURCE, "--url", upstream])?;
    carnet.operate(&[&REVIEW[..], &["--yes"]].concat())?;
    carnet.open_task("hop-0", INTENT)
}

fn report_of(printed: &str) -> anyhow::Result<Report> {
    let last = printed.lines().last().context("bench-identity printed nothing")?;
    let figures: Value =
        serde_json::from_str(last).context("the last line of bench-identity is not JSON")?;
    let mut report = Report::default();
    for name in FIGURES {
        let value = figures.get(name).with_context(|| format!("bench-identity left out {name}"))?;
        // Whether it was token exchange is told by 1 or 0; everything else was measured.
        let is_measured = value.as_f64().is_some_and(|v| v > 0.0);
        ensure!(
            is_measured || name == "exchange_is_rfc8693",
            "{name}: {value} is not a measurement"
        );
        report.check(true);
        report.figure(name, value.clone());
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(of: &str, value: &str) -> String {
        let member = |name: &&str| {
            let value = if *name == of { value } else { "1.5" };
            format!("\"{name}\":{value}")
        };
        let members: Vec<String> = FIGURES.iter().map(member).collect();
        format!("words\n{{{}}}\n", members.join(","))
    }

    #[test]
    fn a_figure_that_is_missing_or_zero_is_no_measurement() {
        assert!(report_of(&printed("issue_per_s", "900")).is_ok());
        assert!(report_of(&printed("issue_per_s", "0")).is_err());
        assert!(report_of(&printed("check_p50_us", "null")).is_err());
        assert!(report_of(&printed("exchange_is_rfc8693", "0")).is_ok());
        assert!(report_of("words\n{}\n").unwrap_err().to_string().contains("issue_per_s"));
        assert!(report_of("").is_err());
    }
}
