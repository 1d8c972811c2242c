//! What identity costs: a token minted and checked in one thread, and, against a running Carnet, a
//! token issued and a part of a task handed on and redeemed.
//!
//! `cargo xtask bench identity` starts that Carnet and runs this. Without `--issuer` only what needs
//! none is measured. The last line is one JSON object.
//!
//! What it does *not* measure: the memory of proofs seen before, the network, a decision at the
//! gateway. Client and server share the machine.

mod agent;
mod chain;
mod connection;
mod issuing;
mod measure;
mod pure;

use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser;
use serde_json::{Map, Value, json};

use crate::measure::Series;

/// The most rounds: what one agent may show and hand on is bounded.
const ROUNDS_MAX: u32 = 7;

/// Measures what tokens cost.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The issuer of a running Carnet, over loopback
    #[arg(long, requires = "socket")]
    issuer: Option<http::Uri>,
    /// The socket of its Workload API
    #[arg(long)]
    socket: Option<std::path::PathBuf>,
    /// The trust domain
    #[arg(long, default_value = "lab.carnet")]
    domain: String,
    /// The task of the agent `hop-0`, to read `echo`, that may be handed on five levels down to
    /// `hop-1` … `hop-5`
    #[arg(long, default_value = "")]
    task: String,
    /// How many rounds; the figures are medians over them
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// What was measured, by name.
#[derive(Debug, Default)]
pub(crate) struct Figures(Map<String, Value>);

impl Figures {
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), json!((value * 100.0).round() / 100.0));
    }

    /// The middle and the worst hundredth of `series`.
    pub(crate) fn put_times(&mut self, name: &str, series: &Series) {
        println!("{name:<24} {series}");
        self.put(&format!("{name}_p50_us"), series.p50_us());
        self.put(&format!("{name}_p99_us"), series.p99_us());
    }

    /// How many a second.
    pub(crate) fn put_rate(&mut self, name: &str, series: &Series) {
        println!("{name:<24} {:.0} a second", series.per_s());
        self.put(&format!("{name}_per_s"), series.per_s());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((1..=ROUNDS_MAX).contains(&options.rounds), "--rounds: choose 1 to {ROUNDS_MAX}");
    let mut figures = Figures::default();
    pure::measure(options.rounds, &mut figures)?;
    if let (Some(issuer), Some(socket)) = (options.issuer, options.socket) {
        let house = agent::House { issuer, socket, domain: options.domain };
        issuing::measure(&house, &options.task, options.rounds, &mut figures).await?;
        chain::measure(&house, &options.task, options.rounds, &mut figures).await?;
    }
    println!("{}", Value::Object(figures.0));
    Ok(())
}
