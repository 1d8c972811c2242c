//! The ledger as its callers see it.

mod canary;
mod common;
mod crash;
mod erasure;
mod format;
mod fuzz;
mod outbox;
mod proof;
mod real;
mod space;
mod tamper;
