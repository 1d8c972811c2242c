//! The Rust SPIFFE library at the Workload API: fetch, validate, and follow a rotation.
//!
//! Like the other programs of `interop identity` it names its cases first and then tells, one line of
//! JSON each, what became of them.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use spiffe::{JwtBundleSet, JwtSvid, TrustDomain, WorkloadApiClient, X509BundleSet};
use tokio::process::Command;

/// How long a change may take to arrive.
const WITHIN: Duration = Duration::from_secs(20);

const CASES: [&str; 4] = [
    "JWT-SVIDs for every agent this process is, validated with the keys of the trust domain",
    "a stream of JWT bundles follows a rotation, and old and new SVIDs validate",
    "X.509-SVIDs for every agent this process is, with the authorities of the trust domain",
    "a stream of X.509 contexts follows a rotation of the authority",
];

/// Looks at the Workload API that a plan names.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The plan of the run.
    plan: PathBuf,
}

/// What it needs of the plan.
#[derive(Debug, Deserialize)]
struct Plan {
    issuer: String,
    trust_domain: String,
    workload: PathBuf,
    carnet: Vec<String>,
    agents: serde_json::Map<String, serde_json::Value>,
    local: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let file = Options::parse().plan;
    let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let plan: Plan = serde_json::from_slice(&text)?;
    println!("{}", json!({ "cases": CASES }));
    let [jwt, jwt_rotation, x509, x509_rotation] = CASES;
    tell(jwt, jwt_svids(&plan)).await;
    tell(jwt_rotation, jwt_rotates(&plan)).await;
    tell(x509, x509_svids(&plan)).await;
    tell(x509_rotation, x509_rotates(&plan)).await;
    Ok(())
}

async fn tell(case: &str, look: impl Future<Output = anyhow::Result<()>>) {
    let line = match look.await {
        Ok(()) => json!({ "case": case }),
        Err(error) => json!({ "case": case, "failed": format!("{error:#}") }),
    };
    println!("{line}");
}

async fn jwt_svids(plan: &Plan) -> anyhow::Result<()> {
    let api = plan.api().await?;
    let svids = api.fetch_all_jwt_svids(&[&plan.issuer], None).await?;
    let found = svids.iter().map(|svid| svid.spiffe_id().to_string()).collect();
    plan.check_local(&found)?;
    let bundles = api.fetch_jwt_bundles().await?;
    for svid in &svids {
        JwtSvid::parse_and_validate(svid.token(), &bundles, &[&plan.issuer])?;
        let other = JwtSvid::parse_and_validate(svid.token(), &bundles, &["https://other.example"]);
        ensure!(other.is_err(), "an SVID is good for another audience");
        api.validate_jwt_token(&plan.issuer, svid.token()).await?;
    }
    Ok(())
}

async fn jwt_rotates(plan: &Plan) -> anyhow::Result<()> {
    let api = plan.api().await?;
    let mut bundles = api.stream_jwt_bundles().await?;
    let first = bundles.next().await.context("no bundles came")??;
    let known = keys(plan, &first)?;
    let old = api.fetch_all_jwt_svids(&[&plan.issuer], None).await?;
    plan.operate(&["keys", "rotate", "jwt-svid"]).await?;
    let current = loop {
        let next = tokio::time::timeout(WITHIN, bundles.next()).await;
        let next = next.context("the new key did not come")?.context("the stream ended")??;
        if !keys(plan, &next)?.is_subset(&known) {
            break next;
        }
    };
    let new = api.fetch_all_jwt_svids(&[&plan.issuer], None).await?;
    for svid in old.iter().chain(&new) {
        JwtSvid::parse_and_validate(svid.token(), &current, &[&plan.issuer])?;
    }
    Ok(())
}

fn keys(plan: &Plan, bundles: &JwtBundleSet) -> anyhow::Result<BTreeSet<String>> {
    let bundle = bundles.get(&plan.domain()?).context("no bundle of the trust domain")?;
    Ok(bundle.jwt_authorities().map(|key| key.key_id().to_owned()).collect())
}

async fn x509_svids(plan: &Plan) -> anyhow::Result<()> {
    let api = plan.api().await?;
    let svids = api.fetch_all_x509_svids().await?;
    let found = svids.iter().map(|svid| svid.spiffe_id().to_string()).collect();
    plan.check_local(&found)?;
    let authorities = authorities(plan, &api.fetch_x509_bundles().await?)?;
    ensure!(!authorities.is_empty(), "the trust domain has no authority");
    Ok(())
}

async fn x509_rotates(plan: &Plan) -> anyhow::Result<()> {
    let api = plan.api().await?;
    let mut contexts = api.stream_x509_contexts().await?;
    let first = contexts.next().await.context("nothing came")??;
    let known = authorities(plan, first.bundle_set())?;
    let leaf = first.default_svid().context("no SVID came")?.leaf().as_bytes().to_vec();
    plan.operate(&["keys", "rotate", "x509-svid"]).await?;
    loop {
        let next = tokio::time::timeout(WITHIN, contexts.next()).await;
        let next = next.context("nothing new came")?.context("the stream ended")??;
        let is_followed = !authorities(plan, next.bundle_set())?.is_subset(&known);
        let now = next.default_svid().context("no SVID came")?.leaf().as_bytes().to_vec();
        if is_followed && now != leaf {
            return Ok(());
        }
    }
}

fn authorities(plan: &Plan, bundles: &X509BundleSet) -> anyhow::Result<BTreeSet<Vec<u8>>> {
    let bundle = bundles.get(&plan.domain()?).context("no bundle of the trust domain")?;
    Ok(bundle.authorities().iter().map(|one| one.as_bytes().to_vec()).collect())
}

impl Plan {
    async fn api(&self) -> anyhow::Result<WorkloadApiClient> {
        let endpoint = format!("unix://{}", self.workload.display());
        Ok(WorkloadApiClient::connect_to(endpoint).await?)
    }

    fn domain(&self) -> anyhow::Result<TrustDomain> {
        Ok(TrustDomain::try_from(self.trust_domain.as_str())?)
    }

    /// The identities found must be those of this process, no more and no fewer.
    fn check_local(&self, found: &BTreeSet<String>) -> anyhow::Result<()> {
        let named = |name: &String| self.agents.get(name)?.get("spiffe_id")?.as_str();
        let local: BTreeSet<String> =
            self.local.iter().filter_map(named).map(str::to_owned).collect();
        ensure!(*found == local, "{found:?} are not {local:?}");
        Ok(())
    }

    /// A command of the operator.
    async fn operate(&self, words: &[&str]) -> anyhow::Result<()> {
        let (program, own) = self.carnet.split_first().context("the plan names no program")?;
        let ended = Command::new(program).args(own).args(words).output().await?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "`carnet {}` failed: {said}", words.join(" "));
        Ok(())
    }
}
