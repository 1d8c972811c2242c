//! The support desk: an MCP server over streamable HTTP or stdio.

use std::{io::Write, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use clap::Parser;
use rmcp::ServiceExt;
use support_desk::{
    credential::{Credential, CredentialFiles},
    desk::{Desk, Journal},
    http::Listening,
    server::DeskServer,
};

/// The environment variable that holds the caller's token when the desk runs over stdio.
const TOKEN_VARIABLE: &str = "SUPPORT_DESK_TOKEN";

/// A small support desk that speaks MCP.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Listen here; port 0 takes a free one. The URL is the first line on stdout.
    #[arg(long, default_value = "127.0.0.1:0", conflicts_with = "stdio")]
    listen: SocketAddr,
    /// Speak MCP over stdin and stdout instead.
    #[arg(long)]
    stdio: bool,
    /// Demand one of two tokens: read=FILE,write=FILE. Over stdio it comes from SUPPORT_DESK_TOKEN.
    #[arg(long, value_name = "read=FILE,write=FILE")]
    require_bearer_file: Option<CredentialFiles>,
    /// Append a line of JSON to this file for every write carried out.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let journal = match &options.journal {
        Some(path) => Journal::to_file(path)?,
        None => Journal::nowhere(),
    };
    let desk = Arc::new(Desk::with_samples(journal));
    if options.stdio {
        serve_stdio(desk, options.require_bearer_file).await
    } else {
        serve_http(desk, options.listen, options.require_bearer_file).await
    }
}

async fn serve_http(
    desk: Arc<Desk>,
    listen: SocketAddr,
    files: Option<CredentialFiles>,
) -> anyhow::Result<()> {
    let listening = Listening::bind(desk, listen, files)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another --listen"))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listening.url())?;
    stdout.flush()?;
    tokio::select! {
        served = listening.serve(std::future::pending()) => served.context("the listener failed"),
        stopped = stop() => stopped,
    }
}

async fn serve_stdio(desk: Arc<Desk>, files: Option<CredentialFiles>) -> anyhow::Result<()> {
    let credential = match files {
        None => Credential::Write,
        Some(files) => {
            let token = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
            match files.recognise(&token)? {
                Some(credential) => credential,
                None => bail!("{TOKEN_VARIABLE} holds no token this desk knows"),
            }
        }
    };
    let server = DeskServer::over_stdio(desk, credential);
    let running = server.serve(rmcp::transport::stdio()).await.context("no MCP client spoke")?;
    running.waiting().await?;
    Ok(())
}

/// Completes when the process is asked to stop. Open streams are cut: the desk keeps nothing that could be lost.
async fn stop() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
