//! `cargo xtask demo`: the whole story on one machine, with a real MCP server and a real client.

mod programs;
mod story;
mod telling;

use std::path::PathBuf;

use clap::Args;

/// Tells the story of one task, from the first refusal to the verified record.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLE\n  cargo xtask demo --keep /tmp/carnet-demo")]
pub(crate) struct Demo {
    /// Keep the demo's files in this directory, which must not exist yet.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Leave Carnet and the support desk running until ctrl-c.
    #[arg(long)]
    stay: bool,
}

/// Runs the demo. An error names the first thing that was not as the story says.
pub(crate) fn run(demo: &Demo) -> anyhow::Result<()> {
    let programs = programs::build()?;
    let stage = story::Stage::set(&programs, demo.keep.as_deref())?;
    let told = story::tell(&stage);
    if told.is_ok() && demo.stay {
        stage.stay()?;
    }
    stage.strike(demo.keep.is_some())?;
    told
}
