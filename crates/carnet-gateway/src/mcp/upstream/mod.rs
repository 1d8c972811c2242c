//! Upstreams: how a message reaches a server, and how its answers come back.

mod http;
mod stdio;

use bytes::Bytes;
use carnet_core::{Path, Resource, Transport};
use tokio::sync::mpsc;

use super::codec::{Id, Message, Revision, Verified};
use crate::control::Credential;

pub(crate) use http::HttpClient;

/// The longest message a server may send.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How many messages of one exchange may wait for a slow client.
const WAITING_MESSAGES_MAX: usize = 64;

/// One session with a server, on one path, for one task.
#[derive(Debug)]
pub(crate) enum Link {
    Http(http::HttpLink),
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
    /// It could not be reached.
    #[error("the upstream could not be reached: {0}")]
    Unreachable(String),
    /// It answered with an HTTP status that carries no message.
    #[error("the upstream answered with HTTP status {0}")]
    Status(u16),
    /// Its session is gone.
    #[error("the upstream ended the session")]
    SessionGone,
    /// What it sent is not understood.
    #[error("the upstream's answer is not understood: {0}")]
    Answer(String),
    /// It is a child process that ended.
    #[error("the upstream's process ended: {0}")]
    Ended(String),
}

impl Link {
    /// A new session with `resource` on `path`, with the credential of that path and no other.
    pub(crate) async fn open(
        client: &HttpClient,
        resource: &Resource,
        path: Path,
        credential: Option<Credential>,
    ) -> Result<Self, UpstreamError> {
        match &resource.upstream.transport {
            Transport::Http { url } => {
                http::HttpLink::open(client, url, credential).map(Self::Http)
            }
            Transport::Stdio { command, args } => {
                stdio::StdioLink::open(&resource.name, path, command, args, credential)
                    .map(Self::Stdio)
            }
        }
    }

    /// Sends one message.
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
            Self::Stdio(link) => link.listen().await,
        }
    }

    /// Ends the session, as politely as the transport knows.
    pub(crate) async fn close(&self, revision: Revision) {
        match self {
            Self::Http(link) => link.close(revision).await,
            Self::Stdio(link) => link.close(),
        }
    }
}
