//! Where an authority's keys are read: a file, an address, or what its own metadata names.

use std::path::PathBuf;

use bytes::Bytes;
use carnet_identity::{KeySet, TrustBundles, TrustDomain};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::fetch::{Document, FetchError, Fetcher, Reach};
use crate::trust::authority::AuthorityKind;

/// The longest document.
const BYTES_MAX: usize = 256 * 1024;
/// How long to wait between two readings where the sender says nothing.
const AGAIN_S: u64 = 300;
/// The shortest and longest of what the sender may say.
const AGAIN_S_BOUNDS: std::ops::RangeInclusive<u64> = 60..=900;
/// How often a file is looked at.
const FILE_AGAIN_S: u64 = 60;

/// Where an authority's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Url(String),
    /// Where the metadata of the issuer says (OpenID Connect Discovery).
    Discovery,
}

/// Why an authority's keys were not read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file.
    #[error("{file}: {problem}: write the file, or correct its name", file = .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The address.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What was read is not what it should be.
    #[error("the document of `{name}` {problem}")]
    Document {
        /// Whose.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What was read.
pub(super) struct Read {
    pub(super) keys: KeySet,
    pub(super) bundles: TrustBundles,
    pub(super) document: Bytes,
    pub(super) sequence: u64,
    pub(super) again_s: u64,
}

impl Source {
    /// Whether it is a file, which must be there at the start.
    pub(crate) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    pub(super) async fn read(
        &self,
        kind: AuthorityKind,
        name: &str,
        fetcher: &Fetcher,
    ) -> Result<Read, SourceError> {
        let document = match self {
            Self::File(file) => read_file(file).await?,
            Self::Url(url) => fetcher.get(url, Reach::Configured, BYTES_MAX).await?,
            Self::Discovery => {
                let url = discovered(name, fetcher).await?;
                fetcher.get(&url, reach_of(name, &url), BYTES_MAX).await?
            }
        };
        let read = parse(kind, name, document);
        match (self, read) {
            (Self::File(_), Ok(read)) => Ok(Read { again_s: FILE_AGAIN_S, ..read }),
            (_, read) => read,
        }
    }
}

async fn read_file(file: &std::path::Path) -> Result<Document, SourceError> {
    let refused = |problem: String| SourceError::File { file: file.to_owned(), problem };
    let opened = tokio::fs::File::open(file).await.map_err(|error| refused(error.to_string()))?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = opened.take(bound).read_to_end(&mut bytes).await;
    read.map_err(|error| refused(error.to_string()))?;
    if bytes.len() > BYTES_MAX {
        return Err(refused(format!("is longer than {BYTES_MAX} bytes")));
    }
    Ok(Document { bytes: bytes.into(), max_age_s: None })
}

/// How far an address goes that an issuer's metadata names: the operator vouches for the issuer's own
/// host and for no other.
pub(crate) fn reach_of(issuer: &str, url: &str) -> Reach {
    let place = |text: &str| {
        let uri: Option<http::Uri> = text.parse().ok();
        uri.map(|uri| (uri.scheme().cloned(), uri.authority().cloned()))
    };
    match (place(issuer), place(url)) {
        (Some(own), Some(other)) if own == other => Reach::Configured,
        _ => Reach::Public,
    }
}

/// The address of the keys, by the issuer's own metadata, which must be of exactly this issuer.
async fn discovered(issuer: &str, fetcher: &Fetcher) -> Result<String, SourceError> {
    let refused = |problem: &str| SourceError::Document {
        name: issuer.to_owned(),
        problem: problem.to_owned(),
    };
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document = fetcher.get(&url, Reach::Configured, BYTES_MAX).await?;
    let metadata: Value =
        serde_json::from_slice(&document.bytes).map_err(|_| refused("is not JSON"))?;
    if metadata.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(refused("is of another `issuer`: write `url` exactly as it says"));
    }
    let keys = metadata.get("jwks_uri").and_then(Value::as_str);
    let keys = keys.ok_or_else(|| refused("has no `jwks_uri`: set `keys`"))?;
    if issuer.starts_with("https:") && !keys.starts_with("https:") {
        return Err(refused("names a `jwks_uri` that is not https"));
    }
    Ok(keys.to_owned())
}

fn parse(kind: AuthorityKind, name: &str, document: Document) -> Result<Read, SourceError> {
    let Document { bytes, max_age_s } = document;
    let refused = |problem: String| SourceError::Document { name: name.to_owned(), problem };
    let again_s = |said: Option<u64>| {
        said.unwrap_or(AGAIN_S).clamp(*AGAIN_S_BOUNDS.start(), *AGAIN_S_BOUNDS.end())
    };
    if kind != AuthorityKind::Domain {
        let keys = KeySet::from_foreign_jwks(&bytes).map_err(|error| refused(error.to_string()))?;
        let (bundles, sequence) = (TrustBundles::new(), 0);
        return Ok(Read { keys, bundles, document: bytes, sequence, again_s: again_s(max_age_s) });
    }
    let domain: TrustDomain =
        name.parse().map_err(|_| refused("is of no trust domain".to_owned()))?;
    let bundle = KeySet::from_spiffe_bundle(&bytes).map_err(|error| refused(error.to_string()))?;
    Ok(Read {
        bundles: TrustBundles::from([(domain, bundle.keys.clone())]),
        keys: bundle.keys,
        document: bytes,
        sequence: bundle.sequence.unwrap_or_default(),
        again_s: again_s(bundle.refresh_hint_s.or(max_age_s)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_sends_us_to_its_own_host_or_to_the_public_and_nowhere_else() {
        let reach = |url| reach_of("https://idp.internal:8443/tenant", url);
        assert_eq!(reach("https://idp.internal:8443/keys"), Reach::Configured);
        for url in [
            "https://idp.internal/keys",
            "http://idp.internal:8443/keys",
            "https://10.0.0.5:8443/keys",
            "https://idp.internal.evil:8443/keys",
            "no address",
        ] {
            assert_eq!(reach(url), Reach::Public, "{url}");
        }
    }
}
