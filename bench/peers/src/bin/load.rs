//! The load client as a program: ends with one line of JSON.

use std::{path::PathBuf, time::Duration};

use bench_peers::load::{self, Credential, Plan, Revision, Stop};
use clap::{Parser, ValueEnum};

/// Calls the tool `echo` of an MCP server as fast as it answers, and reports how long it took.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The MCP endpoint, over plain HTTP.
    #[arg(long)]
    url: http::Uri,
    /// The revision of MCP to speak.
    #[arg(long, value_enum, default_value = "2025-11-25")]
    protocol: Protocol,
    /// How many connections call at the same time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// How long to measure, after one second of warm-up.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The name of the tool that returns its `text`.
    #[arg(long, default_value = "echo")]
    tool: String,
    /// A file with the token to show; looked at again every second.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// A P-256 key (PKCS #8 PEM): prove possession of it with every request.
    #[arg(long)]
    dpop_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Protocol {
    #[value(name = "2025-11-25")]
    V2025_11_25,
    #[value(name = "2026-07-28")]
    V2026_07_28,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let credential = Credential::load(options.token_file.as_deref(), options.dpop_key.as_deref())?;
    let plan = Plan {
        url: options.url,
        revision: match options.protocol {
            Protocol::V2025_11_25 => Revision::V2025_11_25,
            Protocol::V2026_07_28 => Revision::V2026_07_28,
        },
        connections: options.connections,
        warm_up: Duration::from_secs(1),
        stop: Stop::After(Duration::from_secs(options.seconds)),
        tool: options.tool,
        credential,
    };
    let report = load::run(plan).await?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
