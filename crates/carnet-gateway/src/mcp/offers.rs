//! What a server offers, as of a moment: a definition that changed since its review is not called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carnet_core::{Digest, OperationKind, Path};
use serde_json::Value;

use super::channel::Channel;
use super::codec::{ListKind, pin};
use super::upstream::UpstreamError;

/// How old a look at what a server offers may be for a read. A call that changes something, or
/// sends something out, is looked up for itself.
const READ_AGE_MAX: Duration = Duration::from_secs(5);

/// What one server was seen to offer.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Held while the server is asked, so that those who want the same thing ask once.
    seen: tokio::sync::Mutex<BTreeMap<&'static str, Seen>>,
}

/// What it offers of one kind.
#[derive(Debug, Clone)]
struct Seen {
    pins: Arc<BTreeMap<String, Digest>>,
    /// When the server was asked.
    at: Instant,
    /// How many changes it had announced by then.
    changes: u64,
}

impl Channel {
    /// Whether what the server offers now is what the reviewer saw. A client may hold an old list;
    /// this is looked at for each call.
    pub(crate) async fn is_as_reviewed(
        &self,
        kind: OperationKind,
        item: &str,
        pinned: &Digest,
        path: Path,
    ) -> Result<bool, UpstreamError> {
        let list = match kind {
            OperationKind::Tool => ListKind::Tools,
            OperationKind::Prompt => ListKind::Prompts,
            // Methods and the reading of resources have no definition a server could change.
            OperationKind::Resource | OperationKind::Method => return Ok(true),
            // No server offers one.
            OperationKind::Federation => return Ok(false),
        };
        let age_max = match path {
            Path::Read => READ_AGE_MAX,
            Path::Write | Path::Admin => Duration::ZERO,
        };
        let pins = self.offered(list, age_max).await?;
        Ok(pins.get(item) == Some(pinned))
    }

    async fn offered(
        &self,
        kind: ListKind,
        age_max: Duration,
    ) -> Result<Arc<BTreeMap<String, Digest>>, UpstreamError> {
        let wanted = Instant::now();
        let mut seen = self.offers.seen.lock().await;
        if let Some(known) = seen.get(kind.member())
            && known.at + age_max >= wanted
            && known.changes == self.link.watch().changes()
        {
            return Ok(Arc::clone(&known.pins));
        }
        let (at, changes) = (Instant::now(), self.link.watch().changes());
        let pins = Arc::new(pins_of(self.list(kind).await?, kind)?);
        seen.insert(kind.member(), Seen { pins: Arc::clone(&pins), at, changes });
        Ok(pins)
    }
}

fn pins_of(items: Vec<Value>, kind: ListKind) -> Result<BTreeMap<String, Digest>, UpstreamError> {
    let mut pins = BTreeMap::new();
    for item in items {
        let name = item.get(kind.key()).and_then(Value::as_str).unwrap_or_default();
        let digest = pin(&item).map_err(|error| UpstreamError::Answer(error.to_string()))?;
        // A name offered twice has no one definition: neither is as reviewed.
        if pins.insert(name.to_owned(), digest).is_some_and(|known| known != digest) {
            let name: String = name.chars().take(128).flat_map(char::escape_debug).collect();
            return Err(UpstreamError::Answer(format!("it offers `{name}` twice")));
        }
    }
    Ok(pins)
}
