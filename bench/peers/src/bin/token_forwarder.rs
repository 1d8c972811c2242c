//! The forwarder as a program.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use bench_peers::forward::Forwarder;
use clap::Parser;

/// Forwards every request to one URL, with a bearer token.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Listen here; port 0 takes a free one. The URL is the first line on stdout.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where every request goes, over plain HTTP.
    #[arg(long)]
    to: http::Uri,
    /// The file with the token; read anew for every request.
    #[arg(long)]
    token_file: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { listen, to, token_file } = Options::parse();
    let forwarder = Forwarder::bind(listen, to, &token_file)
        .await
        .with_context(|| format!("cannot forward from {listen}"))?;
    Ok(forwarder.announce_and_serve().await?)
}
