//! The state in force. What narrows enters it at once; what widens, once its leaf is durable.

use std::collections::BTreeMap;

use carnet_core::Monotonic;
use carnet_store::{Key, Revision};

use crate::state::{State, Touched};

/// One commit, taken in.
pub(crate) struct Taken {
    pub(crate) revision: Revision,
    pub(crate) touched: Vec<Touched>,
    /// Whether it only takes authority away.
    pub(crate) narrows: bool,
    /// Whether it has ledger records, and the last place in the outbox given out when it was made.
    pub(crate) is_recorded: bool,
    pub(crate) last_seq: u64,
}

/// The state in force, and what waits to enter it.
#[derive(Default)]
pub(crate) struct Published {
    pub(crate) state: State,
    /// What waits, by the place in the outbox that must be durable first.
    waiting: BTreeMap<(u64, Revision), Vec<Touched>>,
    drained: u64,
    /// Whether the ledger has all records of what was loaded: nothing is permitted before.
    is_whole: bool,
}

impl Published {
    /// What was loaded, of which some records may not be in the ledger yet.
    pub(crate) fn new(state: State) -> Self {
        Self { state, waiting: BTreeMap::new(), drained: 0, is_whole: false }
    }

    /// The ledger has all records of what was loaded. Tells whether that is news.
    pub(crate) fn make_whole(&mut self) -> bool {
        !std::mem::replace(&mut self.is_whole, true)
    }

    /// Says until when the state in force may be permitted on: not while a brake is not written or a
    /// record of what was loaded not in the ledger. Tells whether it may.
    pub(crate) fn freshen(&mut self, fresh_until: Monotonic) -> bool {
        let may = self.is_whole && !self.state.is_holding();
        if may {
            let snapshot = &mut self.state.snapshot;
            snapshot.fresh_until = snapshot.fresh_until.max(fresh_until);
        }
        may
    }

    /// Takes in one commit, in the order of revisions. Tells whether the state in force changed.
    pub(crate) fn take_in(&mut self, taken: Taken) -> bool {
        let waits = match (taken.narrows, taken.is_recorded) {
            (true, _) => false,
            (false, true) => taken.last_seq > self.drained,
            // It may be made of what waits: it follows that.
            (false, false) => !self.waiting.is_empty(),
        };
        if waits {
            self.waiting.insert((taken.last_seq, taken.revision), taken.touched);
            return false;
        }
        self.supersede(&taken.touched);
        self.apply(taken.touched, taken.revision);
        true
    }

    /// The ledger has everything up to `through`: what waited for it enters. Tells whether something
    /// did.
    pub(crate) fn advance(&mut self, through: u64) -> bool {
        self.drained = self.drained.max(through);
        let mut changed = false;
        while let Some(entry) = self.waiting.first_entry() {
            let (last_seq, revision) = *entry.key();
            if last_seq > self.drained {
                break;
            }
            let touched = entry.remove();
            self.apply(touched, revision);
            changed = true;
        }
        changed
    }

    /// Takes in what the store could not write.
    pub(crate) fn hold(&mut self, touched: &[Touched]) {
        self.supersede(touched);
        self.state.hold(touched);
        self.state.snapshot.fresh_until = Default::default();
    }

    /// How many commits wait for the ledger.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn apply(&mut self, touched: Vec<Touched>, revision: Revision) {
        for (key, item) in touched {
            self.state.apply(&key, item, revision);
        }
    }

    /// What waits may not bring back what a later commit wrote over.
    fn supersede(&mut self, touched: &[Touched]) {
        let is_written = |key: &Key| touched.iter().any(|(written, _)| written == key);
        for waiting in self.waiting.values_mut() {
            waiting.retain(|(key, _)| !is_written(key));
        }
    }
}

#[cfg(test)]
mod tests;
