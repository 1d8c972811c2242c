//! `carnet config`: looking at the configuration without running anything.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Session, exit};
use crate::output::fields;

/// Look at the configuration
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet config check --config ./carnet")]
pub(crate) enum Configuration {
    /// Read carnet.toml and say what is wrong with it
    #[command(after_help = "Example:\n  carnet config check --config ./carnet")]
    Check,
}

impl Configuration {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let Self::Check = self;
        let config = session.config()?;
        config.check_files()?;
        let warnings = config.warnings();
        let operators: Vec<_> = config.users.iter().filter(|user| user.uid.is_some()).collect();
        let names: Vec<&str> = operators.iter().map(|user| user.name.as_str()).collect();
        let document = json!({
            "valid": true, "address": config.listen.address.to_string(), "issuer": config.issuer(),
            "trust_domain": config.trust.domain, "same_user": config.trust.same_user,
            "users": config.users.len(), "operators": names, "warnings": warnings,
        });
        session.output.print(&document, || {
            let people = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let mut text = "carnet.toml can be used\n".to_owned();
            text.push_str(&fields(
                2,
                &[
                    ("agents reach it at", config.issuer()),
                    ("trust domain", config.trust.domain.clone()),
                    ("state", config.state_dir().display().to_string()),
                    ("operators", people),
                ],
            ));
            for warning in &warnings {
                text.push_str(&format!("\nwarning: {warning}\n"));
            }
            text
        })?;
        exit::done()
    }
}
