//! `carnet up`: the product, running.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::{Session, exit};

/// Run Carnet: broker and gateway in one process
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet up --config ./carnet --log json

It runs until it is interrupted. CARNET_LOG says what is logged, to standard error; without it,
warnings are.")]
pub(crate) struct Up {
    /// The form of the log
    #[arg(long, value_enum, default_value_t)]
    log: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl Up {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        crate::shield::hide()?;
        let config = session.config()?;
        log_to_stderr(self.log)?;
        crate::serve::up(config).await?;
        exit::done()
    }
}

fn log_to_stderr(format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var("CARNET_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| exit::usage(format!("CARNET_LOG: `{text}`: {error}")))?,
        Err(_) => EnvFilter::new("warn"),
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && !no_color)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log could not be started: {error}"))
}
