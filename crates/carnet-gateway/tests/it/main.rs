//! The gateway as its neighbours see it: a real listener in front, a control plane and upstreams
//! made for the test behind, a real ledger beside it.
#![allow(dead_code, reason = "the world offers more than the cases so far use")]

mod agent;
mod answer;
mod control;
mod disk;
mod identity;
mod lists;
mod questions;
mod records;
mod revisions;
mod secrets;
mod server;
mod stdio;
mod verdicts;
mod world;
