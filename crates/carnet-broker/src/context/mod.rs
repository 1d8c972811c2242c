//! The context tasks rest on: what is done when it changes, by rules the operator reads and changes.
//!
//! What narrows comes first and is in force at once; the change itself follows. A crash in between
//! leaves tasks suspended or closed under a registration that did not change yet, and never the
//! reverse.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

pub(crate) mod change;
mod hear;
mod receiver;
mod resume;
mod signal;
mod suspend;
mod transmitter;

pub use change::ContextChange;
pub use receiver::router;
pub use transmitter::{KeySource, Transmitter};

use std::sync::Arc;

use carnet_core::{AgentName, ContextRules, Timestamp};

use crate::broker::Broker;

impl Broker {
    /// Puts the operator's rules in force.
    pub fn follow_rules(&self, rules: ContextRules) {
        self.rules.store(Arc::new(rules));
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<ContextRules> {
        self.rules.load_full()
    }

    /// Whether what was issued to a running copy of `agent` at `issued` was issued under the
    /// registration in force: since then what tells its copies has not changed.
    pub fn is_attested_since(&self, agent: &AgentName, issued: Timestamp) -> bool {
        let after = self.in_force(|state| state.attested_after.get(agent).copied());
        // Tokens count whole seconds: one of the same second may be from before.
        after.is_none_or(|after| issued.s() > after.s())
    }
}
