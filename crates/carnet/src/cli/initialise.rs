//! `carnet init`: a place to begin.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Session, exit};
use crate::init;

/// Make a configuration, a first policy set and an example intent
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet init ./carnet

Nothing that is there is overwritten. Read carnet.toml and policy/ before you run `carnet up`.")]
pub(crate) struct Init {
    /// The directory to make it in
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Let agents run under your own uid. For trying it alone on one machine: an agent could then
    /// act as you. Refused outside loopback
    #[arg(long)]
    same_user: bool,
}

impl Init {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let made = init::make(&self.dir, &init::Founder::of_process()?, self.same_user)?;
        let document = json!({ "dir": self.dir, "user": made.user, "files": made.files });
        session.output.print(&document, || made.to_string())?;
        exit::done()
    }
}
