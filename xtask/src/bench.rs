//! Measured, on the machine at hand: figures to compare with figures of the same machine only.

mod disk;
mod identity;
mod mcp;
mod policy;

use std::sync::OnceLock;

use clap::Args;

use crate::area::Area;

/// Every area that can be measured.
pub(crate) const AREAS: &[Area] = &[
    Area { name: "policy", run: policy::run },
    Area { name: "mcp", run: mcp::run },
    Area { name: "identity", run: identity::run },
];

/// How far a measurement goes, where somebody said so.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Extent {
    /// How many rounds, where the area has rounds
    #[arg(long)]
    pub(crate) rounds: Option<u32>,
    /// How long one pass measures, where the area has passes
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

static ASKED: OnceLock<Extent> = OnceLock::new();

/// The middle of `values`, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(high), 0) => (high + values[middle - 1]) / 2.0,
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

impl Extent {
    /// Remembers what was asked for on the command line. The first time counts.
    pub(crate) fn ask(self) {
        let _ = ASKED.set(self);
    }

    /// What was asked for.
    pub(crate) fn asked() -> Self {
        ASKED.get().copied().unwrap_or_default()
    }
}
