//! What an operator may set about the embedded store, all of it bounds.

/// Bounds of a [`crate::SqliteStore`]. The defaults suit one machine with thousands of agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Space kept back on the disk, and above `file_bytes_max`, for narrowing commits.
    pub reserve_bytes: u64,
    /// How large the file may grow before the store counts as full.
    pub file_bytes_max: u64,
    /// How many records may live at once.
    pub records_max: u64,
    /// How many ledger records may wait in the outbox.
    pub outbox_records_max: u64,
    /// How many of the last batches are kept for watches.
    pub watch_batches_max: usize,
    /// How much memory the batches kept for watches may take.
    pub watch_bytes_max: usize,
    /// How many commits may wait for the writer; further ones wait to be let in.
    pub commits_queued_max: usize,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            reserve_bytes: 16 * 1024 * 1024,
            file_bytes_max: 8 * 1024 * 1024 * 1024,
            records_max: 1_000_000,
            outbox_records_max: 100_000,
            watch_batches_max: 4_096,
            watch_bytes_max: 64 * 1024 * 1024,
            commits_queued_max: 1_024,
        }
    }
}
