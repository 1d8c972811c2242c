//! The fixture server for the official MCP conformance suite, as a program.

use std::net::SocketAddr;

use anyhow::Context;
use bench_peers::{conformance::Fixture, listen::Listening};
use clap::Parser;

/// An MCP server with the tools, resources and prompts the official conformance suite expects.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Listen here; port 0 takes a free one. The URL is the first line on stdout.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listen = Options::parse().listen;
    let fixture = Fixture::new()?;
    let listening = Listening::bind(move || fixture.for_session(), listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another --listen"))?;
    Ok(listening.announce_and_serve().await?)
}
