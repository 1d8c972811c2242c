//! The gateway as its neighbours see it: a real listener in front, a control plane and upstreams
//! made for the test behind, a real ledger beside it.

mod agent;
mod answer;
mod approvals;
mod compile;
mod control;
mod disk;
mod identity;
mod lists;
mod outcomes;
mod patience;
mod questions;
mod records;
mod revisions;
mod revocation;
mod secrets;
mod server;
mod stdio;
mod undecided;
mod verdicts;
mod world;
