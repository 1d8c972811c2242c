//! MCP clients and servers other than ours, through the gateway, and the official conformance suite.
//!
//! Every case is one thing somebody else's program must be able to do, or must not. The suite is run
//! twice against one server, directly and through Carnet under a task that allows everything it
//! asks for: what passes directly must pass through Carnet, except what the book says is not
//! carried.

mod conformance;
mod drive;
mod lab;
mod programs;
mod sdks;
mod servers;

use self::lab::Lab;
use crate::area::Report;
use crate::interop::cases::Cases;
use crate::{installation, workspace};

/// Runs every case.
pub(crate) fn run() -> anyhow::Result<Report> {
    let programs = programs::ready()?;
    let dir = workspace::root().join("target/interop-mcp");
    installation::empty_dir(&dir)?;
    let lab = Lab::set(&programs, &dir)?;
    let mut cases = Cases::default();
    sdks::run(&lab, &mut cases)?;
    servers::run(&lab, &mut cases)?;
    conformance::run(&lab, &mut cases)?;
    Ok(cases.finish())
}
