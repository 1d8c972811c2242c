//! The agents of the cases: what each is told by, and what it may.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::lab::DOMAIN;
use crate::installation::Installation;

/// Hands a part of its task on.
pub(super) const PLANNER: &str = "planner";
/// Takes it.
pub(super) const CLOSER: &str = "closer";
/// Cannot prove its key, and may read.
pub(super) const BEARER: &str = "bearer";
/// A program with a person before it.
pub(super) const WEB: &str = "web";
/// The same, as the conformance suite is one: it has no key at all.
pub(super) const SUITE: &str = "suite";
/// Runs elsewhere, and is told by what another issuer says.
pub(super) const POD: &str = "pod";

/// Those that have a key of their own as OAuth clients.
pub(super) const CLIENTS: [&str; 4] = [PLANNER, CLOSER, BEARER, WEB];
/// Those that run here under our uid: the Workload API knows them.
pub(super) const LOCAL: [&str; 2] = [PLANNER, CLOSER];

/// What every agent may read without anybody being asked.
const STANDING: &str = "purpose = \"see how others' programs fare\"\n\n\
    [[allow]]\naction = \"fixture.tool.test_simple_text\"\npath = \"read\"\n";

/// Where a client may send a person back to.
#[derive(Debug)]
pub(super) struct Redirects<'a> {
    pub(super) web: &'a str,
    pub(super) suite: &'a str,
}

/// Registers every agent.
pub(super) fn register(
    carnet: &Installation,
    keys: &Path,
    provider: &str,
    redirects: &Redirects<'_>,
) -> anyhow::Result<()> {
    let standing = carnet.dir().join("standing.toml");
    std::fs::write(&standing, STANDING)?;
    let standing = text(&standing)?;
    for name in CLIENTS {
        let keys = text(&key_file(keys, name, "jwks.json"))?;
        let client = client_id(name);
        let mut args = vec!["--client", &client, "--client-keys", &keys, "--standing", &standing];
        if name == WEB {
            args.extend(["--redirect-uri", redirects.web]);
        }
        if name == BEARER {
            args.push("--bearer-read");
        }
        match LOCAL.contains(&name) {
            true => carnet.add_agent(name, &args)?,
            false => add_elsewhere(carnet, name, &args)?,
        }
    }
    let told = ["--oidc", provider, POD, "--standing", &standing, "--bearer-read"];
    add_elsewhere(carnet, POD, &told)?;
    let client = client_id(SUITE);
    let told = ["--client", &client, "--redirect-uri", redirects.suite, "--standing", &standing];
    add_elsewhere(carnet, SUITE, &[&told, &["--bearer-read"][..]].concat())
}

fn add_elsewhere(carnet: &Installation, name: &str, more: &[&str]) -> anyhow::Result<()> {
    let args = ["agent", "add", name, "--owner", "team:lab"];
    carnet.operate(&[&args, more].concat()).map(drop)
}

/// What the programs are told of the agents, keys included.
pub(super) fn told(keys: &Path) -> anyhow::Result<Value> {
    let mut told = serde_json::Map::new();
    for name in CLIENTS {
        let jwk: Value = serde_json::from_str(&read(&key_file(keys, name, "jwk.json"))?)?;
        let pem = read(&key_file(keys, name, "pem"))?;
        let agent = json!({
            "client_id": client_id(name), "spiffe_id": spiffe_id(name), "jwk": jwk, "pem": pem,
        });
        told.insert(name.to_owned(), agent);
    }
    told.insert(SUITE.to_owned(), json!({ "client_id": client_id(SUITE) }));
    Ok(Value::Object(told))
}

fn client_id(name: &str) -> String {
    format!("{name}-client")
}

fn spiffe_id(name: &str) -> String {
    format!("spiffe://{DOMAIN}/agent/{name}")
}

/// One of the files of a key.
pub(super) fn key_file(keys: &Path, name: &str, kind: &str) -> PathBuf {
    keys.join(format!("{name}.{kind}"))
}

pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
