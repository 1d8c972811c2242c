//! The support desk's agent: scripted, without a model.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use support_desk::agent::{Agent, Outcome, Revision, Step, Target};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// A scripted agent for an MCP server. Steps come as JSON lines on stdin, outcomes leave as JSON lines on stdout.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Carry out the steps on stdin, one a line, each answered by one line.
    Script(Connection),
    /// Read one ticket and follow whatever instructions its text holds.
    Hijacked {
        /// The ticket to read.
        #[arg(long, default_value = "T-1002")]
        ticket: String,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
struct Connection {
    /// The server's URL (streamable HTTP).
    #[arg(long, required_unless_present = "stdio", conflicts_with = "stdio")]
    url: Option<String>,
    /// A file with the bearer token; read before every request.
    #[arg(long, requires = "url")]
    token_file: Option<PathBuf>,
    /// Start this program and speak MCP over its stdin and stdout. Takes the rest of the line.
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_names = ["CMD", "ARGS"])]
    stdio: Vec<OsString>,
    /// The revision of MCP to speak.
    #[arg(long, value_enum, default_value = "2025-11-25")]
    protocol: Protocol,
    /// How long to wait for one answer, in seconds.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout_s: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Protocol {
    #[value(name = "2025-06-18")]
    V2025_06_18,
    #[value(name = "2025-11-25")]
    V2025_11_25,
    #[value(name = "2026-07-28")]
    V2026_07_28,
    Auto,
}

impl Connection {
    fn into_agent(self) -> Agent {
        let mut words = self.stdio.into_iter();
        let target = match (self.url, words.next()) {
            (Some(url), _) => Target::Http { url, token_file: self.token_file },
            (None, program) => {
                Target::Stdio { program: program.unwrap_or_default(), arguments: words.collect() }
            }
        };
        let revision = match self.protocol {
            Protocol::V2025_06_18 => Revision::V2025_06_18,
            Protocol::V2025_11_25 => Revision::V2025_11_25,
            Protocol::V2026_07_28 => Revision::V2026_07_28,
            Protocol::Auto => Revision::Auto,
        };
        Agent::new(target, revision, Duration::from_secs(self.timeout_s))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Options::parse().mode {
        Mode::Script(connection) => run_script(connection.into_agent()).await,
        Mode::Hijacked { ticket, connection } => {
            let mut agent = connection.into_agent();
            for outcome in agent.follow_ticket(&ticket).await {
                print(&outcome).await?;
            }
            agent.close().await;
            Ok(())
        }
    }
}

async fn run_script(mut agent: Agent) -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line.trim().is_empty() {
            continue;
        }
        let outcome = match Step::parse(&line) {
            Ok(step) => agent.take(step).await,
            Err(message) => Outcome::unreadable(message),
        };
        print(&outcome).await?;
    }
    agent.close().await;
    Ok(())
}

async fn print(outcome: &Outcome) -> anyhow::Result<()> {
    let mut stdout = tokio::io::stdout();
    stdout.write_all(format!("{}\n", outcome.to_line()).as_bytes()).await?;
    stdout.flush().await?;
    Ok(())
}
