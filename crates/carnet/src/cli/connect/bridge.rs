//! The bridge: lines of the client on one side, up to three paths of a gateway on the other.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use carnet_core::Path;
use carnet_gateway::mcp::codec::{
    Id, ListKind, Message, Notification, Refusal, Request, Response, Revision, Sender, method,
    read_message, refused,
};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::mcp::{ANSWER_BYTES_MAX, Endpoint};
use crate::cli::connect::failure::Failure;
use crate::cli::connect::headers;
use crate::cli::connect::lines::Line;
use crate::cli::connect::link::{Handshake, Link};
use crate::cli::connect::offers::Offers;
use crate::cli::connect::raw::Members;

/// The most requests of the client that are under way at once.
pub(crate) const IN_FLIGHT_MAX: usize = 256;
/// How long what is under way may take once the client closed its side.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What a bridge is made of.
pub(crate) struct BridgeParts {
    /// The paths, in the order of what they can do.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Where messages for the client go.
    pub(crate) out: mpsc::Sender<Bytes>,
    /// How long a call that needs a person is made again before the client is told to come back.
    pub(crate) hold: Duration,
}

/// One client's conversation.
pub(crate) struct Bridge {
    pub(super) links: Vec<Arc<Link>>,
    pub(super) out: mpsc::Sender<Bytes>,
    pub(super) hold: Duration,
    pub(super) offers: Mutex<Offers>,
    pub(super) questions: Mutex<HashMap<Id, Question>>,
    handshake: Mutex<Option<Arc<Handshake>>>,
    flights: Mutex<HashMap<Id, Arc<Flight>>>,
    seats: Arc<Semaphore>,
    working: Mutex<JoinSet<()>>,
    listening: Mutex<JoinSet<()>>,
}

/// A request of a server's own that the client has not answered.
pub(super) struct Question {
    pub(super) link: Arc<Link>,
    /// The id the server gave it, as it is written.
    pub(super) id: String,
    /// Where the server wants to hear of progress.
    pub(super) progress: Option<Value>,
}

/// A request of the client that is under way.
pub(super) struct Flight {
    /// How it travels.
    pub(super) mode: Mode,
    /// The path it went to.
    pub(super) link: Mutex<Option<Arc<Link>>>,
    /// The client does not want the answer any more.
    pub(super) cancelled: CancellationToken,
}

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In the session that was opened.
    Session,
    /// By itself.
    Stateless(Revision),
}

impl Bridge {
    /// A bridge on which nothing was said yet.
    pub(crate) fn new(parts: BridgeParts) -> Arc<Self> {
        let links = parts.endpoints.into_iter().map(|it| Arc::new(Link::new(it))).collect();
        Arc::new(Self {
            links,
            out: parts.out,
            hold: parts.hold,
            offers: Mutex::default(),
            questions: Mutex::default(),
            handshake: Mutex::default(),
            flights: Mutex::default(),
            seats: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            working: Mutex::default(),
            listening: Mutex::default(),
        })
    }

    /// Carries messages until the client closes its side or `stop` is cancelled, then ends the
    /// sessions.
    pub(crate) async fn run(
        self: &Arc<Self>,
        mut lines: mpsc::Receiver<Line>,
        stop: CancellationToken,
    ) {
        let carrying = async {
            while let Some(line) = lines.recv().await {
                self.take(line).await;
            }
            // A script that pipes its requests in still wants the answers.
            let mut working = std::mem::take(&mut *lock(&self.working));
            let drained = async { while working.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.out.closed() => {}
            () = carrying => {}
        }
        let (working, listening) = (
            std::mem::take(&mut *lock(&self.working)),
            std::mem::take(&mut *lock(&self.listening)),
        );
        drop((working, listening));
        futures::future::join_all(self.links.iter().map(|link| link.close())).await;
    }

    async fn take(self: &Arc<Self>, line: Line) {
        let Line::Message(bytes) = line else {
            let refusal = Refusal::Request("it is longer than 4 MiB");
            return self.say(refused(&refusal, None).body).await;
        };
        match read_message(bytes.clone(), Sender::Client) {
            Ok(Message::Request(request)) => self.take_request(request).await,
            Ok(Message::Notification(notification)) => self.take_note(notification).await,
            Ok(Message::Response(response)) => self.take_response(response).await,
            Err(refusal) => {
                let id = id_of(&bytes);
                self.say(refused(&refusal, id.as_ref()).body).await;
            }
        }
    }

    /// `initialize` is waited for, so that nothing overtakes it; everything else goes its own way.
    async fn take_request(self: &Arc<Self>, request: Request) {
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            let message =
                format!("more than {IN_FLIGHT_MAX} requests are under way: wait for answers");
            let failure = Failure::new("in_flight_full", message);
            return self.say(failure.answer(&request.id)).await;
        };
        let mode = headers::declared(&request.params).map_or(Mode::Session, Mode::Stateless);
        let flight =
            Arc::new(Flight { mode, link: Mutex::default(), cancelled: CancellationToken::new() });
        let is_twice = lock(&self.flights).contains_key(&request.id);
        if is_twice {
            let failure = Failure::params("a request with this id is under way: use each id once");
            return self.say(failure.answer(&request.id)).await;
        }
        lock(&self.flights).insert(request.id.clone(), Arc::clone(&flight));
        let bridge = Arc::clone(self);
        let is_first = request.method == "initialize";
        let working = async move {
            let answer = bridge.answer(&request, &flight).await;
            lock(&bridge.flights).remove(&request.id);
            if !flight.cancelled.is_cancelled() {
                bridge.say(answer).await;
            }
            drop(seat);
        };
        if is_first {
            return working.await;
        }
        let mut tasks = lock(&self.working);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(working);
    }

    async fn answer(self: &Arc<Self>, request: &Request, flight: &Arc<Flight>) -> Bytes {
        let working = self.work(request, flight);
        let answered = match flight.mode {
            Mode::Session => working.await,
            // Without a session, closing the connection is how a call is called off.
            Mode::Stateless(_) => tokio::select! {
                answered = working => answered,
                () = flight.cancelled.cancelled() => return Bytes::new(),
            },
        };
        match answered {
            Ok(bytes) if bytes.len() <= ANSWER_BYTES_MAX => bytes,
            Ok(_) => Failure::new("answer_too_long", "the answer is longer than 8 MiB")
                .answer(&request.id),
            Err(failure) => failure.answer(&request.id),
        }
    }

    async fn work(
        self: &Arc<Self>,
        request: &Request,
        flight: &Arc<Flight>,
    ) -> Result<Bytes, Failure> {
        match request.method.as_str() {
            "initialize" => self.initialize(request).await,
            "server/discover" => self.discover(request, flight.mode).await,
            name => match list_of(name) {
                Some(kind) => self.list(kind, request, flight.mode).await,
                None => self.single(request, flight).await,
            },
        }
    }

    async fn take_note(self: &Arc<Self>, note: Notification) {
        let links = match note.method.as_str() {
            "notifications/cancelled" => self.call_off(&note).into_iter().collect(),
            "notifications/progress" => self.asker(&note).into_iter().collect(),
            "notifications/initialized" => {
                if let Some(handshake) = self.handshake() {
                    handshake.is_ready.store(true, Ordering::Release);
                }
                self.links.clone()
            }
            _ => self.links.clone(),
        };
        let is_start = note.method == "notifications/initialized";
        let note = &note;
        let sending = links.iter().filter_map(|link| Some((link, link.session()?)));
        let sending = sending.map(|(link, session)| async move {
            link.note(note.bytes().clone(), &session).await;
            if is_start {
                self.listen(link, &session);
            }
        });
        futures::future::join_all(sending).await;
    }

    /// Calls off a request; tells the path that must hear of it.
    fn call_off(&self, note: &Notification) -> Option<Arc<Link>> {
        let id = note.params.get("requestId").and_then(Id::of)?;
        let flight = lock(&self.flights).get(&id).cloned()?;
        flight.cancelled.cancel();
        let link = lock(&flight.link).clone();
        link.filter(|_| flight.mode == Mode::Session)
    }

    /// The path whose question is being worked on.
    fn asker(&self, note: &Notification) -> Option<Arc<Link>> {
        let token = note.params.get("progressToken")?;
        let questions = lock(&self.questions);
        let asked = questions.values().find(|question| question.progress.as_ref() == Some(token));
        asked.map(|question| Arc::clone(&question.link))
    }

    /// Takes the client's answer to the path that asked.
    async fn take_response(self: &Arc<Self>, response: Response) {
        let question = response.id.as_ref().and_then(|id| lock(&self.questions).remove(id));
        let Some(question) = question else {
            tracing::debug!("the client answered what nobody asked");
            return;
        };
        let Some(session) = question.link.session() else { return };
        let bytes = with_id(response.bytes(), &question.id);
        question.link.note(bytes.unwrap_or_else(|| response.bytes().clone()), &session).await;
    }

    /// Writes a message for the client. Where nobody reads any more, the run ends by itself.
    pub(super) async fn say(&self, message: Bytes) {
        let _ = self.out.send(message).await;
    }

    /// How the client opened the conversation.
    pub(super) fn handshake(&self) -> Option<Arc<Handshake>> {
        lock(&self.handshake).clone()
    }

    /// Remembers how the client opened the conversation.
    pub(super) fn set_handshake(&self, handshake: Arc<Handshake>) {
        *lock(&self.handshake) = Some(handshake);
    }

    /// The path `path`, where it is one of ours.
    pub(super) fn link(&self, path: Path) -> Option<&Arc<Link>> {
        self.links.iter().find(|link| link.path() == path)
    }

    /// Work that lives as long as a session.
    pub(super) fn spawn_listener(&self, listener: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.listening);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(listener);
    }
}

/// The list a method asks for.
fn list_of(name: &str) -> Option<ListKind> {
    let found = method::all().iter().find(|known| known.name == name)?;
    match found.rule {
        method::Rule::List(kind) => Some(kind),
        _ => None,
    }
}

/// The id of a message that was refused, where it can be told.
fn id_of(bytes: &Bytes) -> Option<Id> {
    let members = Members::of(std::str::from_utf8(bytes).ok()?)?;
    Id::of(&serde_json::from_str(members.get("id")?).ok()?)
}

/// The message with another id; nothing where it has that one already.
pub(super) fn with_id(bytes: &Bytes, id: &str) -> Option<Bytes> {
    let members = Members::of(std::str::from_utf8(bytes).ok()?)?;
    (members.get("id") != Some(id)).then(|| Bytes::from(members.with("id", id)))
}

/// A lock; a thread that died with it left nothing half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
