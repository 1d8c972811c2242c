//! An agent as Carnet sees one: its SVID, its key, and what it asks with them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use carnet_core::Timestamp;
use carnet_identity::DpopKey;
use spiffe::{SpiffeId, WorkloadApiClient};

use crate::connection::{Answer, Connection};

/// The agent whose task it is.
pub(crate) const ROOT: &str = "hop-0";
pub(crate) const TOKEN: &str = "/oauth/token";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

static PROOFS: AtomicU64 = AtomicU64::new(0);

/// Where Carnet is.
pub(crate) struct House {
    pub(crate) issuer: http::Uri,
    pub(crate) socket: PathBuf,
    pub(crate) domain: String,
}

/// One agent with a key of its own.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) svid: String,
    key: DpopKey,
    issuer: String,
}

impl House {
    /// The issuer as Carnet writes it.
    pub(crate) fn issuer(&self) -> String {
        self.issuer.to_string().trim_end_matches('/').to_owned()
    }

    /// Where the one resource is read.
    pub(crate) fn resource(&self) -> String {
        format!("{}/read/mcp/echo", self.issuer())
    }

    async fn workload(&self) -> anyhow::Result<WorkloadApiClient> {
        let endpoint = format!("unix://{}", self.socket.display());
        WorkloadApiClient::connect_to(&endpoint).await.context("the Workload API")
    }

    /// The agent `name` with a fresh SVID and a fresh key.
    pub(crate) async fn agent(&self, name: &str) -> anyhow::Result<Agent> {
        let id = format!("spiffe://{}/agent/{name}", self.domain);
        let svid = self.svids(&id, 1).await?.pop().context("no SVID")?;
        let (name, key) = (name.to_owned(), DpopKey::generate()?);
        Ok(Agent { name, id, svid, key, issuer: self.issuer() })
    }

    /// Fresh SVIDs of `id` for the issuer.
    pub(crate) async fn svids(&self, id: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let client = self.workload().await?;
        let id = SpiffeId::new(id)?;
        let mut svids = Vec::with_capacity(count);
        for _ in 0..count {
            let svid = client.fetch_jwt_svid([self.issuer()], Some(&id)).await?;
            svids.push(svid.token().to_owned());
        }
        Ok(svids)
    }
}

impl Agent {
    /// A proof for a `POST` to `path`.
    pub(crate) fn proof(&self, path: &str) -> anyhow::Result<String> {
        let jti =
            format!("bench-{}-{}", std::process::id(), PROOFS.fetch_add(1, Ordering::Relaxed));
        let url = format!("{}{path}", self.issuer);
        Ok(self.key.prove("POST", &url, None, &jti, now()?, None)?)
    }

    /// Sends `form` to `path` as this agent, with a proof of its key.
    pub(crate) async fn ask(
        &self,
        connection: &mut Connection,
        path: &str,
        form: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let proof = self.proof(path)?;
        connection.post(path, Some(&proof), &with_assertion(form, &self.svid)).await
    }
}

/// `form` with what authenticates the client.
pub(crate) fn with_assertion<'a>(
    form: &[(&'a str, &'a str)],
    svid: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let own = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", svid)];
    form.iter().copied().chain(own).collect()
}

fn now() -> anyhow::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Timestamp::from_s(i64::try_from(since.as_secs())?))
}
