//! The whole of one node: killed, starved of disk and of its server while calls are under way.
//!
//! Each case starts a Carnet of its own with a real MCP server behind it and a real client before it,
//! hurts it, starts it again, and holds what is left against the same promises (`audit`).

mod audit;
mod chance;
mod child;
mod disk;
mod gone;
mod kill;
mod memory;
mod server;
mod strace;
mod trace;
mod work;
mod world;

use std::time::Instant;

use anyhow::Context as _;

use crate::area::Report;
use world::Template;

/// What a case does to Carnet, and how it judges what is left.
type Run = dyn Fn(&Template) -> anyhow::Result<Verdict>;

/// One case, and how it is carried out.
struct Case {
    name: String,
    run: Box<Run>,
}

/// What came out of a case.
enum Verdict {
    /// Everything held.
    Held,
    /// It cannot be tried here, and why.
    Skipped(String),
}

impl Case {
    fn new(
        name: impl Into<String>,
        run: impl Fn(&Template) -> anyhow::Result<Verdict> + 'static,
    ) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// Every case, in order.
fn cases() -> Vec<Case> {
    let mut cases = kill::cases();
    cases.extend(chance::cases());
    cases.extend(gone::cases());
    cases.extend(server::cases());
    cases.extend(disk::cases());
    cases.extend(memory::cases());
    cases.extend(trace::cases());
    cases
}

/// Carries out every case; those whose number or name is in `CARNET_FAULT_ONLY`, if it is set.
pub(crate) fn run() -> anyhow::Result<Report> {
    let only = std::env::var("CARNET_FAULT_ONLY").unwrap_or_default();
    let template = Template::make().context("nothing could be tried")?;
    let mut report = Report::default();
    let mut failed = Vec::new();
    for (at, case) in cases().iter().enumerate() {
        let number = format!("{:02}", at + 1);
        if !only.split(',').any(|word| word == number || case.name.contains(word)) {
            continue;
        }
        let began = Instant::now();
        let outcome = (case.run)(&template);
        let took = began.elapsed().as_secs_f64();
        match outcome {
            Ok(Verdict::Held) => {
                println!("{number} ok      {took:>6.1} s  {}", case.name);
                report.check(true);
            }
            Ok(Verdict::Skipped(why)) => {
                println!("{number} SKIPPED {took:>6.1} s  {}: {why}", case.name);
                report.skip();
            }
            Err(error) => {
                println!("{number} FAILED  {took:>6.1} s  {}: {error:#}", case.name);
                report.check(false);
                failed.push(number);
            }
        }
    }
    match failed.is_empty() {
        true => template.remove(),
        false => println!("what the failed cases left is in {}", template.dir().display()),
    }
    Ok(report)
}
