//! How a ledger is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::entry::NAME_BYTES_MAX;
use crate::error::LedgerError;
use crate::note::check_origin;

/// The smallest segment: its header and a longest leaf fit.
pub const SEGMENT_BYTES_MIN: u64 = 128 * 1024;
/// The largest segment.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The longest a record may wait for others to be written with.
pub const LINGER_MAX: Duration = Duration::from_secs(1);

/// Where a ledger lives and how it writes.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// The log directory.
    pub dir: PathBuf,
    /// Where the last signed checkpoint is kept a second time. Put it on other storage than `dir`:
    /// it is what shows that a log was cut or set back.
    pub lock_dir: PathBuf,
    /// The log's name, for ever: a URL without scheme, such as `carnet.example/log/node-1`.
    pub origin: String,
    /// The node that writes, as it appears in leaves.
    pub node: String,
    /// The length of a segment file.
    pub segment_bytes: u64,
    /// The length of each of the two files (segment and sidecar) kept for revocations on a full
    /// disk.
    pub reserve_bytes: u64,
    /// Most entries written with one sync.
    pub batch_entries_max: usize,
    /// Most bytes written with one sync, give or take one entry.
    pub batch_bytes_max: usize,
    /// Most entries that wait to be written; more are refused.
    pub queue_entries_max: usize,
    /// Most bytes that wait to be written; more are refused.
    pub queue_bytes_max: usize,
    /// How long a record that no effect waits for may wait to be written with one that somebody
    /// waits for.
    pub linger: Duration,
    /// The most time from one sync to the next while several writers hand in records at once, half a
    /// millisecond for each of them; a writer that is alone is never held up by it.
    pub gather: Duration,
    /// How often a checkpoint is published if the log grew; `None` publishes on demand only.
    pub checkpoint_every: Option<Duration>,
}

impl LedgerConfig {
    /// The defaults: 64 MiB segments and reserve, batches of 1,024 entries or 1 MiB, a checkpoint a
    /// second. The node is named after the origin until set.
    pub fn new(
        dir: impl Into<PathBuf>,
        lock_dir: impl Into<PathBuf>,
        origin: impl Into<String>,
    ) -> Self {
        let origin = origin.into();
        Self {
            dir: dir.into(),
            lock_dir: lock_dir.into(),
            node: origin.clone(),
            origin,
            segment_bytes: 64 * 1024 * 1024,
            reserve_bytes: 64 * 1024 * 1024,
            batch_entries_max: 1_024,
            batch_bytes_max: 1024 * 1024,
            queue_entries_max: 16_384,
            queue_bytes_max: 64 * 1024 * 1024,
            linger: Duration::from_millis(5),
            gather: Duration::from_millis(4),
            checkpoint_every: Some(Duration::from_secs(1)),
        }
    }

    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        check_origin(&self.origin)?;
        for (what, wait) in [("linger", self.linger), ("gather", self.gather)] {
            if wait > LINGER_MAX {
                let why = format!("at most {} ms are allowed", LINGER_MAX.as_millis());
                return Err(LedgerError::invalid(what, why));
            }
        }
        if self.node.is_empty() || self.node.len() > NAME_BYTES_MAX {
            let why = format!("1 to {NAME_BYTES_MAX} bytes are needed");
            return Err(LedgerError::invalid("the node's name", why));
        }
        for (what, bytes) in
            [("segment_bytes", self.segment_bytes), ("reserve_bytes", self.reserve_bytes)]
        {
            if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
                let why = format!("{SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} are allowed");
                return Err(LedgerError::invalid(what, why));
            }
        }
        let counts = [
            ("batch_entries_max", self.batch_entries_max),
            ("batch_bytes_max", self.batch_bytes_max),
            ("queue_entries_max", self.queue_entries_max),
            ("queue_bytes_max", self.queue_bytes_max),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((what, _)) => Err(LedgerError::invalid(what, "it must be at least 1")),
            None => Ok(()),
        }
    }
}
