//! Who waits for what a child process says.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{Inbound, Messages, UpstreamError, WAITING_MESSAGES_MAX};
use crate::mcp::codec::{Id, Message};

/// The most requests of one session that may wait at once.
const WAITING_REQUESTS_MAX: usize = 256;

type Answers = mpsc::Sender<Result<Inbound, UpstreamError>>;

/// Everyone who waits. Nobody's slowness holds up the others: what finds no room is lost, but for
/// answers, which have a place kept.
#[derive(Debug, Default)]
pub(super) struct Router {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Requests by id, with their place in the order they were sent in.
    requests: HashMap<Id, (u64, Answers)>,
    next: u64,
    /// The stream of what belongs to no request.
    listener: Option<Answers>,
    ended: Option<UpstreamError>,
}

impl Router {
    /// Waits for the answer to `id`.
    pub(super) fn expect(&self, id: Id) -> Result<Messages, UpstreamError> {
        let mut waiting = self.lock();
        if let Some(ended) = &waiting.ended {
            return Err(UpstreamError::NotSent(ended.to_string()));
        }
        waiting.requests.retain(|_, (_, answers)| !answers.is_closed());
        if waiting.requests.len() >= WAITING_REQUESTS_MAX || waiting.requests.contains_key(&id) {
            let problem = "too many requests wait, or one with this id does already";
            return Err(UpstreamError::NotSent(problem.into()));
        }
        let (sender, messages) = mpsc::channel(WAITING_MESSAGES_MAX);
        let place = waiting.next;
        waiting.next += 1;
        waiting.requests.insert(id, (place, sender));
        Ok(messages)
    }

    /// Takes what belongs to no request, in place of who did before.
    pub(super) fn listen(&self) -> Messages {
        let (sender, messages) = mpsc::channel(WAITING_MESSAGES_MAX);
        self.lock().listener = Some(sender);
        messages
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// An answer goes to who asked. Anything else goes to the oldest request that waits, for a
    /// child cannot say what it belongs to, or to the listener. What nobody takes comes back.
    pub(super) fn route(&self, inbound: Inbound) -> Option<Inbound> {
        let mut waiting = self.lock();
        if let Message::Response(response) = &inbound.message {
            let id = response.id.as_ref();
            let Some((_, answers)) = id.and_then(|id| waiting.requests.remove(id)) else {
                return Some(inbound);
            };
            return give(&answers, inbound);
        }
        let open = waiting.requests.values().filter(|(_, answers)| !answers.is_closed());
        let oldest = open.min_by_key(|(place, _)| *place).map(|(_, answers)| answers);
        match oldest.or(waiting.listener.as_ref()) {
            Some(answers) if answers.capacity() > 1 => give(answers, inbound),
            _ => Some(inbound),
        }
    }

    /// The child said its last.
    pub(super) fn end(&self, error: &UpstreamError) {
        let mut waiting = self.lock();
        waiting.ended = Some(error.clone());
        let listener = waiting.listener.take();
        let requests = waiting.requests.drain().map(|(_, (_, answers))| answers);
        for answers in requests.chain(listener) {
            let _ = answers.try_send(Err(error.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn give(answers: &Answers, inbound: Inbound) -> Option<Inbound> {
    match answers.try_send(Ok(inbound)) {
        Ok(()) => None,
        Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => {
            back.ok()
        }
    }
}
