//! Fault points: named seams at which a test lets the process die, as a power cut would.
//!
//! A point is compiled to nothing unless the feature `fault-points` is on; no build that ships has it.

/// Dies here, without a word, where the variable `CARNET_FAULT_POINT` says so.
///
/// It holds names divided by `>`: each must be passed, in this order, and at the last the process
/// is killed. `open.before>committed` dies at the first commit after a task began to be opened.
#[cfg(feature = "fault-points")]
pub fn fault_point(name: &str) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    static WANTED: OnceLock<Vec<String>> = OnceLock::new();
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    // One at a time: two threads at the same point are two passages.
    static PASSING: Mutex<()> = Mutex::new(());

    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("CARNET_FAULT_POINT").unwrap_or_default();
        text.split('>').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    });
    let _one = PASSING.lock().unwrap_or_else(PoisonError::into_inner);
    let passed = PASSED.load(Ordering::Acquire);
    if wanted.get(passed).is_none_or(|next| next != name) {
        return;
    }
    PASSED.store(passed + 1, Ordering::Release);
    if passed + 1 == wanted.len() {
        let own = rustix::process::getpid();
        // Should the signal be refused, ending at once is the next best.
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub const fn fault_point(_name: &str) {}
