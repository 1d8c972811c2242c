//! Authorization codes: what each was given for, until after it could be used again.

use std::collections::HashMap;
use std::sync::Arc;

use carnet_core::{AgentName, Digest, Path, ResourceName, TaskId, Timestamp, UserName};
use carnet_identity::{KeySet, Thumbprint};

use super::request::Asked;

/// How long a code is good, in seconds.
const CODE_S: i64 = 60;
/// How long it is known afterwards, so that a second use is seen: longer than any token it gave.
const KEPT_S: i64 = 600;
/// The most codes known at once.
const CODES_MAX: usize = 4096;

/// The codes given, by their digests: a code itself is kept nowhere.
#[derive(Default)]
pub(crate) struct Codes {
    codes: HashMap<Digest, Given>,
}

/// What a code was given for.
#[derive(Clone)]
pub(crate) struct Given {
    /// What was asked.
    pub(crate) asked: Arc<Asked>,
    pub(crate) client_id: String,
    pub(crate) agent: AgentName,
    /// The keys the client authenticates with, where it has some.
    pub(crate) keys: Option<Arc<KeySet>>,
    pub(crate) redirect_uri: String,
    pub(crate) path: Path,
    pub(crate) resource: ResourceName,
    pub(crate) challenge: [u8; 32],
    pub(crate) dpop_jkt: Option<Thumbprint>,
    pub(crate) task: TaskId,
    pub(crate) person: UserName,
    pub(crate) at: Timestamp,
    pub(crate) used: Used,
}

/// What a code was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    /// Nothing yet.
    Not,
    /// It was shown by its client, and wrongly.
    InVain,
    /// It gave a token.
    Well,
}

impl Codes {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&mut self, now: Timestamp) -> bool {
        self.codes.retain(|_, given| now < given.at.plus_s(KEPT_S));
        self.codes.len() < CODES_MAX
    }

    /// Remembers what `code` was given for.
    pub(crate) fn give(&mut self, code: &str, given: Given) {
        self.codes.insert(Digest::of(code.as_bytes()), given);
    }

    /// What `code` was given for, where it was given to this client.
    pub(crate) fn look(&self, code: &str, client_id: &str) -> Option<Given> {
        let given = self.codes.get(&Digest::of(code.as_bytes()))?;
        (given.client_id == client_id).then(|| given.clone())
    }

    /// Uses `code` up, and tells what it had been used for before. It is used in vain until
    /// [`Codes::gave`] says otherwise, and once it was used twice it is over.
    pub(crate) fn spend(&mut self, code: &str) -> Option<Used> {
        let given = self.codes.get_mut(&Digest::of(code.as_bytes()))?;
        Some(std::mem::replace(&mut given.used, Used::InVain))
    }

    /// Says that `code` gave a token.
    pub(crate) fn gave(&mut self, code: &str) {
        if let Some(given) = self.codes.get_mut(&Digest::of(code.as_bytes())) {
            given.used = Used::Well;
        }
    }
}

impl Given {
    /// Whether the code is too old.
    pub(crate) fn is_late(&self, now: Timestamp) -> bool {
        now >= self.at.plus_s(CODE_S)
    }
}
