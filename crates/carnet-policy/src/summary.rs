//! What a loaded set consists of.

use std::collections::BTreeMap;

use carnet_core::PolicyId;
use serde::Serialize;

use crate::cedar::CedarPolicy;
use crate::rule::Tier;
use crate::scope::scope_keys;

/// How many policies each tier has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TierCounts {
    /// In `permit/`.
    pub permit: usize,
    /// In `forbid/`.
    pub forbid: usize,
    /// In `ask/`.
    pub ask: usize,
}

/// A policy whose scope names no entity: every request pays for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnscopedPolicy {
    /// Its id.
    pub id: PolicyId,
    /// Its file.
    pub file: String,
    /// Its line.
    pub line: u32,
}

/// What a loaded set consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Policies per tier.
    pub tiers: TierCounts,
    /// Policies per scope key. One that names several actions counts under each.
    pub scopes: BTreeMap<String, usize>,
    /// Policies that every request meets. Give them a resource, a principal or an action if the
    /// rule allows it.
    pub unscoped: Vec<UnscopedPolicy>,
}

impl CedarPolicy {
    /// Counts per tier and per scope key, and the policies that lie under none.
    pub fn summary(&self) -> Summary {
        let mut tiers = TierCounts::default();
        let mut scopes = BTreeMap::new();
        let mut unscoped = Vec::new();
        for rule in self.rules.values() {
            match rule.tier {
                Tier::Permit => tiers.permit += 1,
                Tier::Forbid => tiers.forbid += 1,
                Tier::Ask => tiers.ask += 1,
            }
            let keys = scope_keys(&rule.policy);
            if keys.is_empty() {
                let (id, file) = (rule.id.clone(), rule.file.clone());
                unscoped.push(UnscopedPolicy { id, file, line: rule.line });
            }
            for key in keys {
                *scopes.entry(key.to_string()).or_default() += 1;
            }
        }
        unscoped.sort();
        Summary { tiers, scopes, unscoped }
    }
}
