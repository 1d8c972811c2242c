//! What a server asked for inside a result: only that may be answered.
//!
//! What a client sends back is neither an argument nor seen by policy, so it must belong to a
//! question that was decided: the same operation, the same arguments, the state the server gave.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use carnet_core::{Digest, OperationKind};

use super::codec::{Call, InputRequest, Refusal, Retry, Revision};

/// What the opaque state of our own questions begins with: a retry that carries it was never the
/// server's, and nothing in it counts.
pub(super) const OWN_STATE_PREFIX: &str = "carnet:";
/// The most results of one channel that wait for an answer; the oldest makes room.
const AWAITED_MAX: usize = 64;
/// How long one may be answered.
const AWAITED_FOR: Duration = Duration::from_secs(15 * 60);

/// The questions of one channel.
#[derive(Debug, Default)]
pub(super) struct Awaited(Mutex<VecDeque<Asked>>);

#[derive(Debug)]
struct Asked {
    of: Of,
    state: Option<String>,
    requests: Vec<InputRequest>,
    at: Instant,
}

/// Exactly what the question is about.
#[derive(Debug, PartialEq, Eq)]
struct Of {
    kind: OperationKind,
    item: String,
    arguments: Digest,
}

impl Of {
    fn call(call: &Call) -> Option<Self> {
        let arguments = Digest::of_json(&call.arguments).ok()?;
        Some(Self { kind: call.kind, item: call.item.clone(), arguments })
    }
}

impl Awaited {
    /// Remembers what the server asked in answer to `call`.
    pub(super) fn remember(&self, call: &Call, requests: Vec<InputRequest>, state: Option<String>) {
        let Some(of) = Of::call(call) else { return };
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|known| known.at.elapsed() < AWAITED_FOR);
        if asked.len() >= AWAITED_MAX {
            asked.pop_front();
        }
        asked.push_back(Asked { of, state, requests, at: Instant::now() });
    }

    fn check(&self, revision: Revision, call: &Call, retry: &Retry) -> Result<(), Refusal> {
        let of = Of::call(call);
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = asked.iter().rev().find(|known| {
            Some(&known.of) == of.as_ref()
                && known.state == retry.state
                && known.at.elapsed() < AWAITED_FOR
        });
        let known = known.ok_or_else(|| nobody_asked(revision))?;
        retry.check(revision, &known.requests)
    }
}

/// Refuses what answers a question that was not asked on `awaited`, or where there is none.
pub(super) fn check_retry(
    awaited: Option<&Awaited>,
    revision: Revision,
    call: &Call,
) -> Result<(), Refusal> {
    let Some(retry) = call.retry.as_ref().filter(|retry| !is_own(retry)) else { return Ok(()) };
    let awaited = awaited.ok_or_else(|| nobody_asked(revision))?;
    awaited.check(revision, call, retry)
}

/// Whether a retry answers a question of our own.
pub(super) fn is_own(retry: &Retry) -> bool {
    retry.state.as_deref().is_some_and(|state| state.starts_with(OWN_STATE_PREFIX))
}

fn nobody_asked(revision: Revision) -> Refusal {
    Refusal::params(revision, "/params/inputResponses", "answers a question nobody asked")
}
