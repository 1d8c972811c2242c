//! `review.toml`: the decisions of a review, written down.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use anyhow::Context;
use carnet_core::{ArgumentKind, EffectClass, OperationKind, Path, Reach};
use serde::Deserialize;

use super::candidate::Candidate;
use super::decided::Decided;
use crate::cli::exit;

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The decisions of a file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewFile {
    #[serde(default, rename = "operation")]
    operations: Vec<Written>,
}

/// One decision. What is not written is as it is suggested.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default = "tool")]
    kind: OperationKind,
    path: WrittenPath,
    reversible: Option<bool>,
    egress: Option<bool>,
    arguments: Option<BTreeMap<String, ArgumentKind>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenPath {
    Read,
    Write,
    Admin,
    Off,
}

const fn tool() -> OperationKind {
    OperationKind::Tool
}

impl ReviewFile {
    /// Reads `file`.
    pub(crate) fn read(file: &FilePath) -> anyhow::Result<Self> {
        let size = file.metadata().with_context(|| file.display().to_string())?.len();
        if size > FILE_BYTES_MAX {
            anyhow::bail!("{} is longer than {FILE_BYTES_MAX} bytes", file.display());
        }
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        toml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
    }

    /// Whether it decides nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// What it says of `candidate`.
    pub(crate) fn decided(&self, candidate: &Candidate) -> Option<Decided> {
        let written = self.operations.iter().find(|written| written.is_of(candidate))?;
        let suggested = &candidate.suggested;
        let reach = written.egress.map(|egress| if egress { Reach::Egress } else { Reach::Inside });
        Some(Decided {
            path: written.path.into(),
            effect: EffectClass {
                reversible: written.reversible.unwrap_or(suggested.effect.reversible),
                reach: reach.unwrap_or(suggested.effect.reach),
            },
            arguments: written.arguments.clone().unwrap_or_else(|| suggested.arguments.clone()),
        })
    }

    /// Refuses what is not offered, and what is said twice.
    pub(crate) fn check(&self, candidates: &[Candidate]) -> anyhow::Result<()> {
        for (index, written) in self.operations.iter().enumerate() {
            let label = format!("operation[{index}]: {}/{}", written.kind.as_str(), written.name);
            if !candidates.iter().any(|candidate| written.is_of(candidate)) {
                return Err(exit::usage(format!("{label} is not offered")));
            }
            let same = |other: &&Written| other.kind == written.kind && other.name == written.name;
            if self.operations.iter().filter(same).count() > 1 {
                return Err(exit::usage(format!("{label} is there twice")));
            }
        }
        Ok(())
    }
}

impl Written {
    fn is_of(&self, candidate: &Candidate) -> bool {
        self.kind == candidate.kind && self.name == candidate.name
    }
}

impl From<WrittenPath> for Option<Path> {
    fn from(path: WrittenPath) -> Self {
        match path {
            WrittenPath::Read => Some(Path::Read),
            WrittenPath::Write => Some(Path::Write),
            WrittenPath::Admin => Some(Path::Admin),
            WrittenPath::Off => None,
        }
    }
}
