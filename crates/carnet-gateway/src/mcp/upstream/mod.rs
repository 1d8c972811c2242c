//! Upstreams: how a message reaches a server, and how its answers come back.

mod children;
mod http;
mod router;
mod stdio;
mod watch;

use bytes::Bytes;
use carnet_core::{AgentName, Path, Resource, Transport};
use tokio::sync::mpsc;

use super::codec::{Id, Message, Request, Revision, Verified};
use crate::control::Credential;

pub use children::ChildRules;
pub(crate) use children::Children;
pub(crate) use http::HttpClient;
pub(crate) use watch::Watch;

/// The longest message a server may send.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How many messages of one exchange may wait for a slow client.
const WAITING_MESSAGES_MAX: usize = 64;

/// What every upstream is reached with.
#[derive(Debug)]
pub(crate) struct Upstreams {
    pub(crate) client: HttpClient,
    pub(crate) children: Children,
}

/// One session with a server, on one path, for one task.
#[derive(Debug)]
pub(crate) enum Link {
    Http(Box<http::HttpLink>),
    Stdio(stdio::StdioLink),
}

/// A message on its way to a server.
#[derive(Debug)]
pub(crate) struct Outbound<'a> {
    /// The bytes as received.
    pub(crate) bytes: Bytes,
    /// The id, for a request that is answered.
    pub(crate) id: Option<Id>,
    /// The headers that repeat the body, as verified.
    pub(crate) headers: &'a Verified,
    /// Whether it opens the session: the one message whose answer may name it.
    pub(crate) opens: bool,
}

/// A message from a server.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// What it says.
    pub(crate) message: Message,
    /// The HTTP status it came with.
    pub(crate) status: u16,
}

/// What comes back: nothing, or messages until the answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Taken; there is nothing to wait for.
    Accepted,
    /// Messages, the answer last.
    Messages(Messages),
}

/// The messages of one exchange, in order.
pub(crate) type Messages = mpsc::Receiver<Result<Inbound, UpstreamError>>;

/// Why a server could not be reached or understood. For the operator.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// Nothing of the message was sent.
    #[error("nothing was sent to the upstream: {0}")]
    NotSent(String),
    /// It was sent, or part of it, and no answer came.
    #[error("the upstream did not answer: {0}")]
    Broken(String),
    /// It answered with an HTTP status that carries no message.
    #[error("the upstream answered with HTTP status {0}")]
    Status(u16),
    /// Its session is gone.
    #[error("the upstream ended the session")]
    SessionGone,
    /// What it sent is not understood, or may not be.
    #[error("the upstream's answer is refused: {0}")]
    Answer(String),
    /// It is a child process that ended.
    #[error("the upstream's process ended: {0}")]
    Ended(String),
}

impl UpstreamError {
    /// Whether the server surely saw nothing of the message.
    pub(crate) const fn is_unsent(&self) -> bool {
        matches!(self, Self::NotSent(_))
    }
}

impl Link {
    /// A new session with `resource` on `path`, with the credential of that path and no other, for
    /// `agent` or for a reviewer.
    pub(crate) fn open(
        upstreams: &Upstreams,
        resource: &Resource,
        path: Path,
        credential: Option<Credential>,
        agent: Option<&AgentName>,
    ) -> Result<Self, UpstreamError> {
        match &resource.upstream.transport {
            Transport::Http { url } => http::HttpLink::open(&upstreams.client, url, credential)
                .map(Box::new)
                .map(Self::Http),
            Transport::Stdio { command, args, run_as } => {
                let seat = upstreams.children.seat(*run_as, agent)?;
                let program = stdio::Program { command, args, run_as: *run_as, seat };
                stdio::StdioLink::open(&resource.name, path, program, credential).map(Self::Stdio)
            }
            Transport::Federation(_) => Err(UpstreamError::NotSent(
                "it is a federation target: its tokens are at the token endpoint, and it speaks no MCP"
                    .to_owned(),
            )),
        }
    }

    /// Sends one message. Dropped halfway, the message was sent whole or not at all.
    pub(crate) async fn send(
        &self,
        outbound: Outbound<'_>,
        revision: Revision,
    ) -> Result<Reply, UpstreamError> {
        match self {
            Self::Http(link) => link.send(outbound, revision).await,
            Self::Stdio(link) => link.send(outbound).await,
        }
    }

    /// The stream of what the server says by itself, where it offers one.
    pub(crate) async fn listen(&self, revision: Revision) -> Result<Messages, UpstreamError> {
        match self {
            Self::Http(link) => link.listen(revision).await,
            Self::Stdio(link) => link.listen(),
        }
    }

    /// Tells the server that nobody waits for the answer to `id` any more, where the end of a
    /// connection does not say so.
    pub(crate) fn give_up(&self, id: &Id) {
        match self {
            Self::Http(_) => {}
            Self::Stdio(link) => link.give_up(id),
        }
    }

    /// What was heard on it.
    pub(crate) fn watch(&self) -> &Watch {
        match self {
            Self::Http(link) => link.watch(),
            Self::Stdio(link) => link.watch(),
        }
    }

    /// Whether nothing more can be said on it.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Http(link) => link.has_ended(),
            Self::Stdio(link) => link.has_ended(),
        }
    }

    /// Ends it at once: a child process and its children are dead when this returns, and no
    /// request leaves any more.
    pub(crate) fn cut(&self) {
        match self {
            Self::Http(link) => link.cut(),
            Self::Stdio(link) => link.cut(),
        }
    }

    /// Ends it, and tells a server that keeps a session.
    pub(crate) async fn close(&self, revision: Revision) {
        self.cut();
        if let Self::Http(link) = self {
            link.close(revision).await;
        }
    }
}

/// The answer to a request of the server's own that goes to nobody.
pub(crate) fn declined(request: &Request) -> Bytes {
    let refusal = serde_json::json!({
        "jsonrpc": "2.0", "id": request.id,
        "error": { "code": -32601, "message": "Denied by Carnet: the client may not be asked this." },
    });
    Bytes::from(refusal.to_string())
}
