//! The bounds every driver keeps. They are part of the contract, so that what one driver accepts another does
//! too: the totals are chosen to fit a distributed engine that takes 1.5 MiB a request.

/// Longest id of a record or of an outgoing ledger record, in bytes.
pub const ID_BYTES_MAX: usize = 512;

/// Largest value of one record.
pub const VALUE_BYTES_MAX: usize = 512 * 1024;

/// Most changes in one commit.
pub const CHANGES_MAX: usize = 256;

/// Most expected revisions in one commit.
pub const EXPECTED_MAX: usize = 256;

/// Most outgoing ledger records in one commit.
pub const OUTGOING_MAX: usize = 64;

/// Largest outgoing ledger record.
pub const OUTGOING_BYTES_MAX: usize = 256 * 1024;

/// Largest commit: ids, values and outgoing bytes together.
pub const COMMIT_BYTES_MAX: usize = 1024 * 1024;

/// Most records one page of `list` or `outbox` may ask for.
pub const LIST_LIMIT_MAX: usize = 1_000;

/// A page ends early, after at least one record, once it holds this many bytes.
pub const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;
