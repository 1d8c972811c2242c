//! The echo server as a program.

use std::net::SocketAddr;

use anyhow::Context;
use bench_peers::{echo::Echo, listen::Listening};
use clap::Parser;

/// An MCP server with one tool, `echo`. Sessions up to 2025-11-25, stateless from 2026-07-28.
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
    let echo = Echo::new();
    let listening = Listening::bind(move || echo.clone(), listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another --listen"))?;
    Ok(listening.announce_and_serve().await?)
}
