//! One policy of a set, as Carnet understands it.

use std::collections::BTreeMap;
use std::fmt;

use carnet_core::{ApprovalTerms, Obligation, PolicyId};
use serde::Serialize;

/// The folder a policy lies in: what its match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// What may ever be.
    Permit,
    /// What may never be.
    Forbid,
    /// What people must approve.
    Ask,
}

impl Tier {
    /// All tiers, in the order they are evaluated.
    pub const ALL: [Self; 3] = [Self::Permit, Self::Forbid, Self::Ask];

    /// The name of the tier and of its folder.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
            Self::Ask => "ask",
        }
    }

    /// The only effect a policy in this tier may have.
    pub(crate) const fn effect(self) -> cedar_policy::Effect {
        match self {
            Self::Permit => cedar_policy::Effect::Permit,
            Self::Forbid | Self::Ask => cedar_policy::Effect::Forbid,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One loaded policy with everything its annotations say.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: PolicyId,
    pub(crate) tier: Tier,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) annotations: BTreeMap<String, String>,
    /// In the ask tier only.
    pub(crate) terms: Option<ApprovalTerms>,
    /// In the permit tier only.
    pub(crate) obligations: Vec<Obligation>,
    pub(crate) policy: cedar_policy::Policy,
}
