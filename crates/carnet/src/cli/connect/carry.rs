//! One request to one path and its answer, with what the server says meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use carnet_core::Path;
use carnet_gateway::mcp::codec::{Id, Message, Mirrored, Request, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::agent::mcp::{EventStream, Reply};
use crate::cli::connect::ask::Pending;
use crate::cli::connect::bridge::{Bridge, Flight, Mode, Question, lock, with_id};
use crate::cli::connect::failure::{Failure, told};
use crate::cli::connect::headers;
use crate::cli::connect::link::{Link, McpSession, Opening};
use crate::cli::connect::offers::Route;

/// The most questions of servers that wait for the client.
const QUESTIONS_MAX: usize = 256;
/// How often a stream of the server's own is asked for in vain.
const LISTENS_MAX: u32 = 5;
/// A stream shorter than this was in vain.
const LISTENED_MIN: Duration = Duration::from_secs(10);
/// How long to wait before it is asked for again, doubled each time.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);
/// What the gateway says of an operation that was sent on another path than its own.
const WRONG_PATH: &str = "wrong_path";

/// What is sent to one path.
pub(super) struct Exchange<'a> {
    /// What the answer will name.
    pub(super) id: &'a Id,
    /// The message.
    pub(super) bytes: &'a Bytes,
    /// How it travels.
    pub(super) mode: Mode,
    /// Its headers, where it travels by itself.
    pub(super) headers: HeaderMap,
}

/// Where a request goes.
struct Target {
    link: Arc<Link>,
    mirrored: Vec<Mirrored>,
    /// No list told.
    is_guess: bool,
}

impl Bridge {
    /// A request that goes to one path.
    pub(super) async fn single(
        self: &Arc<Self>,
        request: &Request,
        flight: &Flight,
    ) -> Result<Bytes, Failure> {
        let Target { mut link, mirrored, is_guess } = self.target(request, flight.mode).await?;
        let headers = match flight.mode {
            Mode::Session => HeaderMap::new(),
            Mode::Stateless(revision) => {
                headers::stateless(revision, &request.method, &request.params, &mirrored)
            }
        };
        let (id, bytes, mode) = (&request.id, request.bytes(), flight.mode);
        let exchange = Exchange { id, bytes, mode, headers };
        let mut response = self.held(&link, &exchange, request, flight).await?;
        // Nothing was forwarded, and the gateway said where it belongs.
        let other = wrong_path(&response).filter(|path| is_guess && *path != link.path());
        if let Some(other) = other.and_then(|path| self.link(path)) {
            link = Arc::clone(other);
            response = self.held(&link, &exchange, request, flight).await?;
        }
        let id = json!(request.id).to_string();
        Ok(with_id(response.bytes(), &id)
            .filter(|_| response.id.is_none())
            .unwrap_or_else(|| response.bytes().clone()))
    }

    async fn target(self: &Arc<Self>, request: &Request, mode: Mode) -> Result<Target, Failure> {
        let route = || lock(&self.offers).route(&request.method, &request.params);
        let route = match route() {
            Route::Unknown(lists) => {
                for kind in lists {
                    self.refresh(*kind, request, mode).await;
                }
                route()
            }
            known => known,
        };
        let is_guess = route == Route::Anywhere;
        if let Route::To(offered) = route
            && let Some(link) = self.link(offered.path)
        {
            let link = Arc::clone(link);
            return Ok(Target { link, mirrored: offered.mirrored, is_guess: false });
        }
        // What nobody offers is refused by the gateway, in its own words.
        let link = self.first_open(mode).await?;
        Ok(Target { link, mirrored: Vec::new(), is_guess })
    }

    /// The first path that is open to this task.
    async fn first_open(self: &Arc<Self>, mode: Mode) -> Result<Arc<Link>, Failure> {
        let mut first = None;
        for link in &self.links {
            let opened = match mode {
                Mode::Session => self.ensure(link).await.map(|_| ()),
                Mode::Stateless(_) => link.check().await,
            };
            match opened {
                Ok(()) => return Ok(Arc::clone(link)),
                Err(failure) => drop(first.get_or_insert(failure)),
            }
        }
        Err(first.unwrap_or_else(|| Failure::new("no_path", "no path is open: see --paths")))
    }

    /// Makes a call again for as long as it waits for a person, and no longer than we hold.
    async fn held(
        self: &Arc<Self>,
        link: &Arc<Link>,
        exchange: &Exchange<'_>,
        request: &Request,
        flight: &Flight,
    ) -> Result<Response, Failure> {
        *lock(&flight.link) = Some(Arc::clone(link));
        let started = Instant::now();
        loop {
            let response = self.carry(link, exchange).await?;
            let left = self.hold.saturating_sub(started.elapsed());
            let pending = if left.is_zero() { None } else { Pending::of(&response) };
            let Some(pending) = pending else { return Ok(response) };
            if let Some(token) = request.params.get("_meta").and_then(|it| it.get("progressToken"))
            {
                let progress = pending.progress(token, started.elapsed(), self.hold);
                self.say(Bytes::from(progress)).await;
            }
            tokio::select! {
                () = tokio::time::sleep(pending.retry_after.min(left)) => {}
                () = flight.cancelled.cancelled() => return Ok(response),
            }
        }
    }

    /// One request, one answer. A session that is gone is opened again once: what was sent in it
    /// went nowhere.
    pub(super) async fn carry(
        self: &Arc<Self>,
        link: &Arc<Link>,
        exchange: &Exchange<'_>,
    ) -> Result<Response, Failure> {
        let mut is_second = false;
        loop {
            let (session, headers) = match exchange.mode {
                Mode::Stateless(_) => (None, exchange.headers.clone()),
                Mode::Session => {
                    let session = self.ensure(link).await?;
                    let headers = session.headers();
                    (Some(session), headers)
                }
            };
            let reply = link.post(exchange.bytes.clone(), headers).await?;
            match (reply, session) {
                (Reply::Status(StatusCode::NOT_FOUND, _), Some(session)) if !is_second => {
                    link.forget(&session);
                    is_second = true;
                }
                (Reply::Message(message), _) => return response_to(exchange.id, message),
                (Reply::Stream(stream), _) => return self.follow(link, exchange.id, stream).await,
                (Reply::Status(status, code), _) => return Err(Failure::of_status(status, &code)),
                (Reply::Accepted, _) => return Err(lost()),
            }
        }
    }

    /// The session of `link`, opened in the client's own words where there is none.
    pub(super) async fn ensure(
        self: &Arc<Self>,
        link: &Arc<Link>,
    ) -> Result<Arc<McpSession>, Failure> {
        if let Some(session) = link.session() {
            return Ok(session);
        }
        let handshake = self.handshake().ok_or_else(|| {
            Failure::new("not_initialized", "the session is not open: send `initialize` first")
        })?;
        match link.open(&handshake).await? {
            Opening::Known(session) => Ok(session),
            Opening::Refused(response) => Err(Failure::of_response(&response)),
            Opening::Fresh(session, _) => {
                if handshake.is_ready.load(Ordering::Acquire) {
                    self.listen(link, &session);
                }
                Ok(session)
            }
        }
    }

    /// Passes on what comes before the answer.
    async fn follow(
        self: &Arc<Self>,
        link: &Arc<Link>,
        id: &Id,
        mut stream: EventStream,
    ) -> Result<Response, Failure> {
        while let Some(message) = stream.next().await? {
            match message {
                Message::Response(response) if response.id.is_none() => return Ok(response),
                Message::Response(response) if response.id.as_ref() == Some(id) => {
                    return Ok(response);
                }
                message => self.pass(link, message).await,
            }
        }
        Err(lost())
    }

    /// Follows what a server says by itself, for as long as the session lives.
    pub(super) fn listen(self: &Arc<Self>, link: &Arc<Link>, session: &Arc<McpSession>) {
        let (bridge, link, session) = (Arc::clone(self), Arc::clone(link), Arc::clone(session));
        let over = session.over.clone();
        self.spawn_listener(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = bridge.keep_listening(&link, &session) => {}
            }
        });
    }

    async fn keep_listening(self: &Arc<Self>, link: &Arc<Link>, session: &McpSession) {
        let mut in_vain = 0;
        while in_vain < LISTENS_MAX {
            let began = Instant::now();
            match link.listen(session).await {
                Ok(Reply::Stream(mut stream)) => {
                    while let Ok(Some(message)) = stream.next().await {
                        self.pass(link, message).await;
                    }
                }
                // The server has nothing to say by itself, or the session is gone.
                Ok(_) => return,
                Err(failure) => tracing::debug!(%failure, "the server's own stream was lost"),
            }
            in_vain = if began.elapsed() < LISTENED_MIN { in_vain + 1 } else { 0 };
            tokio::time::sleep(LISTEN_PAUSE * 2_u32.pow(in_vain)).await;
        }
    }

    /// Passes a message of a server's own on to the client.
    async fn pass(self: &Arc<Self>, link: &Arc<Link>, message: Message) {
        match message {
            Message::Notification(notification) => self.say(notification.bytes().clone()).await,
            Message::Request(request) => self.pass_question(link, request).await,
            // An answer to something the client did not ask is nobody's.
            Message::Response(_) => {}
        }
    }

    async fn pass_question(self: &Arc<Self>, link: &Arc<Link>, request: Request) {
        let own = json!(request.id).to_string();
        let progress = request.params.get("_meta").and_then(|meta| meta.get("progressToken"));
        let question =
            Question { link: Arc::clone(link), id: own.clone(), progress: progress.cloned() };
        let shown = {
            let mut questions = lock(&self.questions);
            if questions.len() >= QUESTIONS_MAX {
                None
            } else {
                // Each path's server counts for itself: two may use the same id.
                let id = match questions.contains_key(&request.id) {
                    true => Id::Text(format!("{}:{}", link.path(), uuid::Uuid::new_v4().simple())),
                    false => request.id.clone(),
                };
                let shown = json!(id).to_string();
                questions.insert(id, question);
                Some(shown)
            }
        };
        match shown {
            Some(shown) => {
                let renamed = with_id(request.bytes(), &shown);
                self.say(renamed.unwrap_or_else(|| request.bytes().clone())).await;
            }
            None => {
                let refusal = Failure::new("questions_full", "the client has too many questions");
                if let Some(session) = link.session() {
                    link.note(refusal.answer(&request.id), &session).await;
                }
            }
        }
    }
}

/// The answer that `message` is. An error that names no request ends the one there is.
fn response_to(id: &Id, message: Message) -> Result<Response, Failure> {
    match message {
        Message::Response(response) if response.id.as_ref().is_none_or(|said| said == id) => {
            Ok(response)
        }
        _ => Err(lost()),
    }
}

/// The path an operation travels on, where the gateway says that it is another.
fn wrong_path(response: &Response) -> Option<Path> {
    let address = told(response).filter(|told| told.reason == WRONG_PATH)?.address?;
    let is_on = |path: &Path| address.contains(&format!("/{path}/mcp/"));
    Path::ALL.into_iter().find(is_on)
}

fn lost() -> Failure {
    Failure::new(
        "answer_lost",
        "the answer broke off: whether the request was carried out is not known",
    )
}
