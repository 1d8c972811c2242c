//! OAuth and SPIFFE clients other than ours, an identity provider other than ours, and the official
//! conformance suite, against a Carnet of their own.
//!
//! Every case is one thing somebody else's program must be able to do, or must not. The programs are
//! small ones on unmodified libraries; each names its cases first and then tells what became of
//! them, so that a program that breaks off loses no case unseen.

mod agents;
mod lab;
mod peer;
mod plan;
mod programs;

use self::lab::Lab;
use self::peer::Peer;
use self::programs::Programs;
use crate::area::Report;
use crate::interop::cases::Cases;
use crate::{installation, workspace};

/// Runs every case.
pub(crate) fn run() -> anyhow::Result<Report> {
    let programs = programs::ready()?;
    let dir = workspace::root().join("target/interop-identity");
    installation::empty_dir(&dir)?;
    let lab = Lab::set(&programs, &dir)?;
    let mut cases = Cases::default();
    for peer in peers(&programs) {
        peer.run(&lab, &mut cases)?;
    }
    Ok(cases.finish())
}

/// Everything Carnet is held against. The one that rotates keys comes last: others may keep theirs
/// for as long as they were told.
fn peers(programs: &Programs) -> [Peer<'_>; 9] {
    let Programs { scripts, .. } = programs;
    [
        Peer::node("oauth4webapi", &scripts.oauth4webapi),
        Peer::node("openid-client", &scripts.openid_client),
        Peer::python("authlib", "authlib_client.py"),
        Peer::node("oidc-provider", &scripts.foreign),
        Peer::node("TypeScript SDK", &scripts.mcp),
        Peer::python("Python SDK", "mcp_identity.py"),
        Peer::on_loopback("conformance", &scripts.conformance),
        Peer::program("spiffe (Rust)", &programs.spiffe),
        Peer::python("spiffe (Python)", "spiffe_client.py"),
    ]
}
