//! One authority and the keys it is believed by.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use carnet_core::Monotonic;
use carnet_identity::{KeySet, TrustBundles};
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;

use crate::fetch::Fetcher;
use crate::trust::source::{Read, Source, SourceError};

/// How long keys are held that cannot be fetched again: then they may have been withdrawn, and the
/// authority vouches for nobody.
const KEPT_S_MAX: u64 = 3_600;
/// How long to wait between two fetches at least: who sends tokens of unknown keys makes us ask no
/// more often.
const GAP: Duration = Duration::from_secs(30);

/// What an authority vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorityKind {
    /// Workloads, by OIDC tokens.
    Issuer,
    /// Workloads of another SPIFFE trust domain.
    Domain,
    /// People.
    Idp,
}

/// An authority as configured.
pub struct AuthorityConfig {
    /// What it vouches for.
    pub kind: AuthorityKind,
    /// What it is called: the `iss` of its tokens, or the trust domain. Compared exactly.
    pub name: String,
    /// The only audience of its tokens.
    pub audience: String,
    /// Where its keys are.
    pub source: Source,
    /// Whom its server may be certified by, besides those the system trusts.
    pub ca: Vec<CertificateDer<'static>>,
}

/// An authority.
pub(crate) struct Authority {
    pub(crate) kind: AuthorityKind,
    pub(crate) name: String,
    pub(crate) audience: String,
    pub(crate) source: Source,
    fetcher: Fetcher,
    held: ArcSwapOption<Held>,
    problem: Mutex<Option<String>>,
    wanted: Notify,
}

/// What an authority is believed by.
pub(crate) struct Held {
    /// Its keys.
    pub(crate) keys: KeySet,
    /// The same as the bundle of its trust domain, where it is one.
    pub(crate) bundles: TrustBundles,
    /// The document itself: it may hold more than the keys of tokens.
    pub(crate) document: Bytes,
    /// Its `spiffe_sequence`.
    pub(crate) sequence: u64,
    until: Monotonic,
}

/// A refresh that worked.
pub(crate) struct Refreshed {
    pub(crate) again_s: u64,
    pub(crate) is_changed: bool,
}

impl AuthorityKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Domain => "domain",
            Self::Idp => "idp",
        }
    }
}

impl Authority {
    pub(crate) fn new(config: AuthorityConfig) -> Self {
        Self {
            kind: config.kind,
            name: config.name,
            audience: config.audience,
            source: config.source,
            fetcher: Fetcher::new(&config.ca),
            held: ArcSwapOption::empty(),
            problem: Mutex::new(Some("it has not answered yet".to_owned())),
            wanted: Notify::new(),
        }
    }

    /// What it is believed by at `now`; none where that was never had, or is too old.
    pub(crate) fn held(&self, now: Monotonic) -> Option<Arc<Held>> {
        self.held.load_full().filter(|held| now < held.until)
    }

    /// Says that a token names a key that is not held: it may be a new one.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Why what is held is not current, where it is not.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads its keys anew. What it no longer publishes counts no longer.
    pub(crate) async fn refresh(&self, now: Monotonic) -> Result<Refreshed, SourceError> {
        let read = self.source.read(self.kind, &self.name, &self.fetcher).await;
        let problem = read.as_ref().err().map(ToString::to_string);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        let Read { keys, bundles, document, sequence, again_s } = read?;
        let until = Monotonic::from_us(now.us().saturating_add(KEPT_S_MAX * 1_000_000));
        let before = self.held.load_full();
        let is_changed = before.is_none_or(|before| before.document != document);
        self.held.store(Some(Arc::new(Held { keys, bundles, document, sequence, until })));
        Ok(Refreshed { again_s, is_changed })
    }

    /// Waits until it is to be read again: `wait` long, or less where a key is wanted.
    pub(crate) async fn rest(&self, wait: Duration) {
        let gap = wait.min(GAP);
        tokio::time::sleep(gap).await;
        tokio::select! {
            () = tokio::time::sleep(wait.saturating_sub(gap)) => {}
            () = self.wanted.notified() => {}
        }
    }
}
