//! What the reviewed registry says an action does.

use serde::{Deserialize, Serialize};

/// Where what an action does can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// It stays inside the organisation.
    Inside,
    /// It carries something an agent chose out of the organisation.
    Egress,
}

/// The effect class of an action, set by a reviewer and never by the server's own annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectClass {
    /// Whether what was done can be undone.
    pub reversible: bool,
    /// Where it can be seen.
    pub reach: Reach,
}

impl EffectClass {
    /// The class of a read that stays inside: nothing to undo, nothing leaves.
    pub const CLOSED: Self = Self { reversible: true, reach: Reach::Inside };

    /// Whether nothing an agent chooses leaves the organisation.
    pub const fn is_closed(self) -> bool {
        matches!(self.reach, Reach::Inside)
    }
}
