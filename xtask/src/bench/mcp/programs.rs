//! The programs a run needs, built as they are shipped.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::{peers, process, workspace};

const PROXY: &str = "mcp-proxy";
const PROXY_VERSION: &str = "0.6.0";
const PROXY_FEATURES: &str = "protocol-2026-07-28,metrics";

/// Where they are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) carnet: PathBuf,
    pub(super) upstream: PathBuf,
    pub(super) load: PathBuf,
    pub(super) proxy: PathBuf,
}

/// Builds ours, and the proxy where it is not there yet.
pub(super) fn build() -> anyhow::Result<Programs> {
    let ours = ["build", "--release", "-p", "carnet", "-p", "bench-peers", "--bins"];
    process::run(process::cargo().args(ours))?;
    let release = workspace::release();
    Ok(Programs {
        carnet: release.join("carnet"),
        upstream: release.join("echo-upstream"),
        load: release.join("load"),
        proxy: proxy()?,
    })
}

fn proxy() -> anyhow::Result<PathBuf> {
    let root = peers::dir().join(PROXY).join(PROXY_VERSION);
    let program = root.join("bin").join(PROXY);
    if program.is_file() {
        return Ok(program);
    }
    println!("building {PROXY} {PROXY_VERSION} (once; it takes some minutes) …");
    let mut install = process::cargo();
    install.args(["install", PROXY, "--version", PROXY_VERSION, "--locked", "--quiet"]);
    install.args(["--no-default-features", "--features", PROXY_FEATURES]).arg("--root").arg(&root);
    install.env("CARGO_TARGET_DIR", peers::dir().join("build").join(PROXY));
    process::run(&mut install)
        .with_context(|| format!("{PROXY} {PROXY_VERSION} could not be installed"))?;
    Ok(program)
}
