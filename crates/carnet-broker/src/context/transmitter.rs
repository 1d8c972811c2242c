//! Who may tell of events, and the keys they sign them with.

use std::path::PathBuf;
use std::sync::Arc;

use carnet_core::Monotonic;
use carnet_identity::KeySet;
use tokio::sync::Mutex;

use crate::fetch::{Fetcher, Reach};

/// The longest key set that is read.
const KEYS_BYTES_MAX: usize = 256 * 1024;
/// After how long keys are read again.
const FRESH_US: u64 = 300 * 1_000_000;
/// For how long keys that cannot be read again are still believed.
const STALE_US_MAX: u64 = 3_600 * 1_000_000;
/// How long to wait before keys are read again for a key that is not among them, or after a failure.
const RETRY_US: u64 = 30 * 1_000_000;

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A JSON Web Key Set in a file.
    File(PathBuf),
    /// A JSON Web Key Set at an address of the configuration.
    Url(String),
}

/// Who may tell of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmitter {
    /// Its name: the `iss` of its events, exactly.
    pub issuer: String,
    /// The keys it signs with.
    pub keys: KeySource,
    /// The only audience of its events, exactly.
    pub audience: String,
    /// The issuers and trust domains besides itself whose subjects it may tell of.
    pub speaks_for: Vec<String>,
}

impl Transmitter {
    /// Whether it may tell of what becomes of the subjects of `authority`.
    pub(crate) fn speaks_for(&self, authority: &str) -> bool {
        self.issuer == authority || self.speaks_for.iter().any(|it| it == authority)
    }
}

/// The keys of one transmitter, as they were read last.
pub(crate) struct KnownKeys {
    source: KeySource,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Monotonic)>,
    tried: Option<Monotonic>,
}

impl KnownKeys {
    pub(crate) fn of(source: KeySource) -> Self {
        Self { source, known: Mutex::default() }
    }

    /// The keys, read again where they are old, or where `anew` asks for it and that was not done a
    /// moment ago; none where there are none to believe.
    pub(crate) async fn get(
        &self,
        fetcher: &Fetcher,
        anew: bool,
        now: Monotonic,
    ) -> Option<Arc<KeySet>> {
        let mut known = self.known.lock().await;
        let age_us = |since: Monotonic| now.us().saturating_sub(since.us());
        let is_old = known.keys.as_ref().is_none_or(|(_, at)| age_us(*at) >= FRESH_US);
        let may_try = known.tried.is_none_or(|at| age_us(at) >= RETRY_US);
        if (is_old || anew) && may_try {
            known.tried = Some(now);
            match read(&self.source, fetcher).await {
                Ok(keys) => known.keys = Some((Arc::new(keys), now)),
                Err(problem) => {
                    tracing::warn!(source = ?self.source, %problem, "the keys of a transmitter cannot be read");
                }
            }
        }
        let (keys, at) = known.keys.as_ref()?;
        (age_us(*at) < STALE_US_MAX).then(|| Arc::clone(keys))
    }
}

/// The keys at `source`.
async fn read(source: &KeySource, fetcher: &Fetcher) -> Result<KeySet, String> {
    let bytes = match source {
        KeySource::Url(url) => {
            let document = fetcher.get(url, Reach::Configured, KEYS_BYTES_MAX).await;
            document.map_err(|error| error.to_string())?.bytes.to_vec()
        }
        KeySource::File(path) => {
            let file = tokio::fs::metadata(path).await.map_err(|error| error.to_string())?;
            if file.len() > KEYS_BYTES_MAX as u64 {
                return Err(format!("it is longer than {KEYS_BYTES_MAX} bytes"));
            }
            tokio::fs::read(path).await.map_err(|error| error.to_string())?
        }
    };
    KeySet::from_foreign_jwks(&bytes).map_err(|error| error.to_string())
}
