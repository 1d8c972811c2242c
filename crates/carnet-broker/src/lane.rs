//! Lanes: what changes the same records queues here, so that it does not race in the store. Brakes
//! do not queue.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, MutexGuard};

/// How many lanes there are. Two tasks may share one: they only wait for each other.
const LANES: usize = 64;

/// Lanes, by what is changed.
pub(crate) struct Lanes(Vec<Mutex<()>>);

impl Default for Lanes {
    fn default() -> Self {
        Self((0..LANES).map(|_| Mutex::default()).collect())
    }
}

impl Lanes {
    /// Waits for its turn to change what hangs on `of`.
    pub(crate) async fn enter(&self, of: &impl Hash) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        of.hash(&mut hasher);
        let lanes = u64::try_from(self.0.len()).unwrap_or(1).max(1);
        let lane = usize::try_from(hasher.finish() % lanes).ok()?;
        Some(self.0.get(lane)?.lock().await)
    }
}
