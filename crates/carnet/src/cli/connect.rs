//! `carnet connect`: a resource as a stdio server, for any MCP client.
//!
//! The client speaks MCP over standard input and output and knows nothing of Carnet. This side holds
//! the identity and a key in memory, proves possession with each request, renews tokens, opens one
//! session a path, sends each call to the path it travels on, and shows one list of what all paths
//! offer. It decides nothing, and what the client and the server say passes through as it is.

mod ask;
mod bridge;
mod carry;
mod failure;
mod fan;
mod headers;
mod lines;
mod link;
mod merge;
mod offers;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use carnet_core::{Path, ResourceName};
use carnet_identity::DpopKey;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Session, exit};
use crate::agent::http::HttpClient;
use crate::agent::mcp::Endpoint;
use crate::agent::place::{Place, PlaceOptions};
use crate::agent::token::{TokenClient, TokenClientParts};
use crate::agent::workload::Workload;
use crate::cli::connect::bridge::{Bridge, BridgeParts};
use crate::cli::connect::lines::{Line, read_lines, write_lines};

/// How many lines of the client may wait.
const LINES_WAITING_MAX: usize = 64;
/// How many messages for the client may wait.
const MESSAGES_WAITING_MAX: usize = 64;
/// The longest a call is held for a person.
const HOLD_S_MAX: u64 = 24 * 60 * 60;
/// How long the last messages may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

const AFTER_HELP: &str = "\
Example:
  carnet connect desk --task task_1   serve the resource `desk` to the MCP client that starts this

Configure an MCP client with the command `carnet` and the arguments `connect` and the resource;
docs/connect.md has examples. Standard output is the client's alone; what there is to say is said on
standard error.";

/// Serve a resource to an MCP client over standard input and output
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Connect {
    /// The resource
    resource: ResourceName,
    /// The paths it may use, where the task has anything there
    #[arg(long, value_name = "PATHS", value_delimiter = ',', default_value = "read,write,admin")]
    paths: Vec<Path>,
    /// How long to make a call that needs a person again before the client is told to come back, in
    /// seconds
    #[arg(long, value_name = "S", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=HOLD_S_MAX))]
    hold_s: u64,
    #[command(flatten)]
    place: PlaceOptions,
}

impl Connect {
    /// Runs until the client closes its side, or the process is told to stop.
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let place = self.place.resolve(&session.place)?;
        let endpoints = self.endpoints(place).await?;
        let stop = CancellationToken::new();
        let signalled = stop.clone();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            signalled.cancel();
        });
        let lines = from_stdin()?;
        let (out, written) = to_stdout()?;
        let hold = Duration::from_secs(self.hold_s);
        let bridge = Bridge::new(BridgeParts { endpoints, out, hold });
        bridge.run(lines, stop).await;
        drop(bridge);
        // A client that does not read does not keep us.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, written).await;
        exit::done()
    }

    /// One for each path, for one instance: this process, with one key that never leaves it.
    async fn endpoints(&self, place: Place) -> anyhow::Result<Vec<Endpoint>> {
        let tokens = Arc::new(TokenClient::new(TokenClientParts {
            http: HttpClient::new(&place.issuer)?,
            identity: Arc::new(Workload::new(place.socket, place.spiffe_id)),
            issuer: place.issuer,
            key: Some(DpopKey::generate()?),
            task: place.task,
        }));
        tokens.check_identity().await?;
        let paths: BTreeSet<Path> = self.paths.iter().copied().collect();
        let endpoint = |path| Endpoint::new(Arc::clone(&tokens), path, self.resource.clone());
        Ok(paths.into_iter().map(endpoint).collect::<Result<_, _>>()?)
    }
}

fn from_stdin() -> anyhow::Result<mpsc::Receiver<Line>> {
    let (sender, lines) = mpsc::channel(LINES_WAITING_MAX);
    let reading = move || read_lines(std::io::stdin().lock(), &sender);
    thread::Builder::new().name("stdin".into()).spawn(reading).context("no thread for input")?;
    Ok(lines)
}

fn to_stdout() -> anyhow::Result<(mpsc::Sender<Bytes>, oneshot::Receiver<()>)> {
    let (out, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (done, written) = oneshot::channel();
    let writing = move || {
        write_lines(messages, std::io::stdout().lock());
        // Nobody may wait any more.
        let _ = done.send(());
    };
    thread::Builder::new().name("stdout".into()).spawn(writing).context("no thread for output")?;
    Ok((out, written))
}
