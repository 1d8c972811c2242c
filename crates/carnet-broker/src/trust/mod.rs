//! Who else vouches: issuers of workloads, other trust domains, identity providers of people. Each
//! has keys of its own, and they speak for it alone.
//!
//! Requests read what is held and wait for nobody; one refresher an authority keeps it current. Keys
//! that cannot be fetched again are dropped after a while: then the authority vouches for nobody.

mod authority;
mod source;

use std::sync::Arc;
use std::time::Duration;

use carnet_core::Monotonic;
use carnet_identity::TrustDomain;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::broker::Broker;
use crate::clock::fresh_bits;

pub(crate) use authority::{Authority, Held};
pub use authority::{AuthorityConfig, AuthorityKind};
pub(crate) use source::reach_of;
pub use source::{Source, SourceError};

/// The first wait after a failure; each further one doubles it.
const BACKOFF_S: u64 = 5;
/// The longest wait after a failure.
const BACKOFF_S_MAX: u64 = 300;

/// The authorities there are. They change with the configuration only.
pub(crate) struct Trust {
    authorities: Vec<Arc<Authority>>,
    /// Counts the changes of keys.
    pub(crate) changes: watch::Sender<u64>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { authorities: Vec::new(), changes: watch::Sender::new(0) }
    }
}

impl Trust {
    /// Those of the configuration, with nothing held yet.
    pub(crate) fn new(authorities: Vec<AuthorityConfig>) -> Self {
        let authorities = authorities.into_iter().map(|it| Arc::new(Authority::new(it)));
        Self { authorities: authorities.collect(), changes: watch::Sender::new(0) }
    }

    /// The authority of `kind` that is called exactly `name`.
    pub(crate) fn find(&self, kind: AuthorityKind, name: &str) -> Option<&Arc<Authority>> {
        self.authorities.iter().find(|it| it.kind == kind && it.name == name)
    }

    /// The other trust domains whose keys are held at `now`.
    pub(crate) fn domains(&self, now: Monotonic) -> Vec<(TrustDomain, Arc<Held>)> {
        let domains = self.authorities.iter().filter(|it| it.kind == AuthorityKind::Domain);
        let held = domains.filter_map(|it| Some((it.name.parse().ok()?, it.held(now)?)));
        held.collect()
    }
}

impl Broker {
    /// Takes `authorities` as those that vouch, and keeps their keys current. A file that does not
    /// read is an error; an address that does not answer is asked again.
    pub async fn trust_in(
        self: &Arc<Self>,
        authorities: Vec<AuthorityConfig>,
    ) -> Result<(), SourceError> {
        let trust = Arc::new(Trust::new(authorities));
        for authority in trust.authorities.iter().filter(|it| it.source.is_file()) {
            authority.refresh(self.now().mono).await?;
        }
        self.trust.store(Arc::clone(&trust));
        for authority in &trust.authorities {
            let keeping = keep(Arc::clone(self), Arc::clone(&trust), Arc::clone(authority));
            self.spawn(keeping);
        }
        Ok(())
    }

    /// How each authority stands: operators see who vouches for nobody, and why.
    pub(crate) fn authorities(&self) -> Vec<Value> {
        let now = self.now().mono;
        let trust = self.trust.load();
        let shown = |it: &Arc<Authority>| {
            json!({
                "kind": it.kind.as_str(), "name": it.name,
                "keys": it.held(now).map_or(0, |held| held.keys.len()),
                "problem": it.problem(),
            })
        };
        trust.authorities.iter().map(shown).collect()
    }
}

/// Keeps the keys of one authority current for ever.
async fn keep(broker: Arc<Broker>, trust: Arc<Trust>, authority: Arc<Authority>) {
    let mut failures = 0_u32;
    loop {
        let wait_s = match authority.refresh(broker.now().mono).await {
            Ok(refreshed) => {
                failures = 0;
                if refreshed.is_changed {
                    trust.changes.send_modify(|count| *count += 1);
                }
                refreshed.again_s
            }
            Err(error) => {
                tracing::warn!(authority = %authority.name, %error, "its keys are not current; it is asked again");
                failures = failures.saturating_add(1);
                backoff_s(failures)
            }
        };
        authority.rest(Duration::from_millis(jittered_ms(wait_s, fresh_bits()))).await;
    }
}

fn backoff_s(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(10);
    (BACKOFF_S << doublings).min(BACKOFF_S_MAX)
}

/// Between nine and ten tenths of `wait_s`: never later than promised, seldom all at once.
fn jittered_ms(wait_s: u64, bits: u128) -> u64 {
    let ms = wait_s.saturating_mul(1_000);
    let share = u64::try_from(bits & 0xff).unwrap_or_default();
    ms - ms / 10 * share / 256
}
