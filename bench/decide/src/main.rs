//! What a decision costs, with 100 policies and with 10,000: the verdict of the engine alone
//! (*authorize*) and the whole of the decision around it (*decide*: liveness, coverage, document,
//! verdict, budget).
//!
//! `cargo run --release -p bench-decide`, or `cargo xtask bench policy`. Its last line is one JSON
//! object. Times are of one core of this machine: compare them with times of the same machine.
//!
//! What it does *not* measure: parsing, proof of possession, the ledger, the network.

mod measure;
mod policies;
mod world;

use std::process::ExitCode;

use carnet_core::{DecisionKind, Document, Policy, VerdictEffect, assess};
use carnet_policy::CedarPolicy;
use measure::{Rounds, Subject};
use serde_json::json;
use world::{Call, World};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let world = World::new()?;
    let few = policies::load(100)?;
    let many = policies::load(10_000)?;
    for policy in [&few, &many] {
        check(&world, policy)?;
    }
    let documents = world.documents(&few)?;
    let [authorize_few, authorize_many, decide_few, decide_many] =
        measure::take(&mut subjects(&world, &documents, &few, &many));
    let tell = |what: &str, rounds: &Rounds| println!("{what:<28} {rounds}");
    tell("authorize,    100 policies", &authorize_few);
    tell("authorize, 10,000 policies", &authorize_many);
    tell("decide,       100 policies", &decide_few);
    tell("decide,    10,000 policies", &decide_many);
    let figures = json!({
        "authorize_p50_us_100": authorize_few.p50_us(),
        "authorize_p50_us_10000": authorize_many.p50_us(),
        "decide_p50_us_100": decide_few.p50_us(),
        "decide_p50_us_10000": decide_many.p50_us(),
        "flatness_10000_vs_100": authorize_many.ratio_to(&authorize_few),
        "decide_flatness_10000_vs_100": decide_many.ratio_to(&decide_few),
    });
    println!("{figures}");
    Ok(())
}

/// What is measured, in the order the figures are named.
fn subjects<'a>(
    world: &'a World,
    documents: &'a [Document],
    few: &'a CedarPolicy,
    many: &'a CedarPolicy,
) -> [Subject<'a>; 4] {
    let authorize = |policy: &'a CedarPolicy| -> Subject<'a> {
        Box::new(move |n| {
            std::hint::black_box(
                policy.judge(std::hint::black_box(&documents[n % documents.len()])),
            );
        })
    };
    let decide = |policy: &'a CedarPolicy| -> Subject<'a> {
        Box::new(move |n| {
            let Call { operation, caller } =
                std::hint::black_box(&world.calls[n % world.calls.len()]);
            std::hint::black_box(assess(&world.snapshot, policy, operation, caller, world::NOW));
        })
    };
    [authorize(few), authorize(many), decide(few), decide(many)]
}

/// A figure about calls that were refused at the first check would be worth nothing: each call must
/// be permitted, by both sizes of set, and one that goes too far must not be.
fn check(world: &World, policy: &dyn Policy) -> Result<(), String> {
    for Call { operation, caller } in &world.calls {
        let decision = assess(&world.snapshot, policy, operation, caller, world::NOW);
        if decision.kind != DecisionKind::Permit {
            return Err(format!("{}: {:?}", operation.action(), decision.reasons));
        }
        let Some(mut document) = decision.document else {
            return Err(format!("{}: no document", operation.action()));
        };
        document.principal.environment = "staging".into();
        if policy.judge(&document).effect != VerdictEffect::Deny {
            return Err(format!("{}: another environment is not refused", operation.action()));
        }
    }
    Ok(())
}
