//! What a call through the gateway costs beside the same call without it.
//!
//! One upstream with one tool, three ways to it: *direct*, through *mcp-proxy* (a plain forwarding
//! proxy: no authentication, no policy, no record; a floor and no rival), and through *Carnet* with
//! everything it does: the token and a fresh proof of its key checked for each call, coverage,
//! policy of 100 rules, and a durable record. Passes take turns and every round begins with another
//! way, so that what else the machine does falls on all of them. Compare figures of one run only.

mod pass;
mod policies;
mod programs;
mod stage;
mod table;

use anyhow::ensure;
use serde_json::{Value, json};

use self::pass::{Pass, Way};
use self::stage::Stage;
use crate::area::Report;
use crate::bench::{Extent, disk, median};
use crate::workspace;

/// How many rounds are run if nothing else is asked for.
const ROUNDS: u32 = 3;
/// How long one pass measures if nothing else is asked for.
const SECONDS: u64 = 6;
/// The most of either: tokens of the read path live for five minutes.
const ROUNDS_MAX: u32 = 50;
const SECONDS_MAX: u64 = 120;
/// How many connections call at once.
const CONNECTIONS: [usize; 2] = [1, 32];

/// One round: every way at every number of connections, and what the disk took.
#[derive(Debug)]
struct Round {
    fdatasync_us: f64,
    passes: Vec<Pass>,
}

/// Runs every pass and reports medians over the rounds.
pub(crate) fn run() -> anyhow::Result<Report> {
    let extent = Extent::asked();
    let rounds = extent.rounds.unwrap_or(ROUNDS);
    let seconds = extent.seconds.unwrap_or(SECONDS);
    ensure!((1..=ROUNDS_MAX).contains(&rounds), "--rounds: choose 1 to {ROUNDS_MAX}");
    ensure!((1..=SECONDS_MAX).contains(&seconds), "--seconds: choose 1 to {SECONDS_MAX}");
    let dir = workspace::root().join("target/bench-mcp");
    let programs = programs::build()?;
    crate::installation::empty_dir(&dir)?;
    let kind = disk::require_real(&dir)?;
    println!("{rounds} rounds, {seconds} s a pass, state on {kind}");
    let stage = Stage::set(&programs, &dir)?;
    let mut done = Vec::new();
    for number in 0..rounds {
        done.push(round(&stage, number, rounds, seconds)?);
    }
    let peak_mib = stage.carnet_peak_mib()?;
    drop(stage);
    table::print(&done);
    Ok(report(&done, peak_mib))
}

fn round(stage: &Stage<'_>, number: u32, rounds: u32, seconds: u64) -> anyhow::Result<Round> {
    let fdatasync_us = disk::fdatasync_p50_us(stage.dir())?;
    println!("round {} of {rounds}: fdatasync p50 {fdatasync_us:.0} µs", number + 1);
    let mut passes = Vec::new();
    for connections in CONNECTIONS {
        for way in Way::rotated(number) {
            let pass = stage.pass(way, connections, seconds)?;
            println!("  {pass}");
            passes.push(pass);
        }
    }
    Ok(Round { fdatasync_us, passes })
}

impl Round {
    fn pass(&self, way: Way, connections: usize) -> Option<&Pass> {
        self.passes.iter().find(|pass| pass.way == way && pass.connections == connections)
    }

    fn figure(&self, way: Way, connections: usize, of: impl Fn(&Pass) -> f64) -> f64 {
        self.pass(way, connections).map_or(f64::NAN, of)
    }

    /// What `way` adds to the direct call, by `of`.
    fn added(&self, way: Way, of: impl Fn(&Pass) -> f64 + Copy) -> f64 {
        self.figure(way, 1, of) - self.figure(Way::Direct, 1, of)
    }
}

fn report(rounds: &[Round], peak_mib: f64) -> Report {
    let mut report = Report::default();
    let errors = |way: Way| {
        let own = rounds.iter().flat_map(|round| &round.passes).filter(|pass| pass.way == way);
        own.map(|pass| pass.load.errors).sum::<u64>()
    };
    let rps = |way| over(rounds, |round| round.figure(way, 32, |pass| pass.load.rps));
    let p50 = |pass: &Pass| pass.load.p50_us;
    let ratio = over(rounds, |round| {
        let rps = |way| round.figure(way, 32, |pass: &Pass| pass.load.rps);
        rps(Way::Carnet) / rps(Way::Proxy)
    });
    let figures = [
        ("direct_rps_32", rps(Way::Direct)),
        ("mcp_proxy_rps_32", rps(Way::Proxy)),
        ("carnet_rps_32", rps(Way::Carnet)),
        ("carnet_vs_mcp_proxy_rps_32", ratio),
        ("direct_p50_us_1", over(rounds, |round| round.figure(Way::Direct, 1, p50))),
        ("mcp_proxy_added_p50_us_1", over(rounds, |round| round.added(Way::Proxy, p50))),
        ("carnet_added_p50_us_1", over(rounds, |round| round.added(Way::Carnet, p50))),
        (
            "carnet_added_p99_us_1",
            over(rounds, |round| round.added(Way::Carnet, |pass| pass.load.p99_us)),
        ),
        ("carnet_peak_mib", peak_mib),
        ("fdatasync_p50_us", over(rounds, |round| round.fdatasync_us)),
    ];
    for (name, value) in figures {
        report.figure(name, rounded(value));
    }
    for (name, way) in [
        ("direct_errors", Way::Direct),
        ("mcp_proxy_errors", Way::Proxy),
        ("carnet_errors", Way::Carnet),
    ] {
        report.figure(name, json!(errors(way)));
    }
    for pass in rounds.iter().flat_map(|round| &round.passes) {
        report.check(pass.is_sound());
    }
    report
}

/// The median over the rounds.
fn over(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    median(rounds.iter().map(of).collect())
}

/// Three decimals are more than any of it is worth. What is no number is null.
fn rounded(value: f64) -> Value {
    json!((value * 1_000.0).round() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::mcp::pass::Load;

    fn pass(way: Way, connections: usize, rps: f64, p50_us: f64, errors: u64) -> Pass {
        let load =
            Load { requests: 9, errors, rps, p50_us, p99_us: p50_us * 3.0, first_error: None };
        Pass { way, connections, load, cpu_us: None }
    }

    fn of_one(carnet_rps: f64, errors: u64) -> Round {
        let passes = vec![
            pass(Way::Direct, 1, 5_000.0, 200.0, 0),
            pass(Way::Proxy, 1, 1_400.0, 700.0, 0),
            pass(Way::Carnet, 1, 900.0, 1_100.0, 0),
            pass(Way::Direct, 32, 13_000.0, 2_000.0, 0),
            pass(Way::Proxy, 32, 5_000.0, 6_000.0, 0),
            pass(Way::Carnet, 32, carnet_rps, 8_000.0, errors),
        ];
        Round { fdatasync_us: 300.0, passes }
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_then_the_median() {
        let rounds = [of_one(4_000.0, 0), of_one(1_000.0, 0), of_one(3_000.0, 0)];
        let json = report(&rounds, 40.0).to_json(crate::area::Kind::Bench, "mcp");
        assert_eq!(json["carnet_vs_mcp_proxy_rps_32"], 0.6);
        assert_eq!(json["carnet_added_p50_us_1"], 900.0);
        assert_eq!(json["mcp_proxy_added_p50_us_1"], 500.0);
        assert_eq!(json["failed"], 0);
    }

    #[test]
    fn one_wrong_answer_fails_the_run() {
        let rounds = [of_one(4_000.0, 0), of_one(4_000.0, 1)];
        let json = report(&rounds, 40.0).to_json(crate::area::Kind::Bench, "mcp");
        assert_eq!((&json["failed"], &json["carnet_errors"]), (&json!(1), &json!(1)));
    }
}
