//! A client of the SPIFFE Workload API: how this process learns who it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use carnet_identity::SpiffeId;
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use secrecy::SecretString;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

const FETCH_JWT_SVID: &str = "/SpiffeWorkloadAPI/FetchJWTSVID";
/// The header every call carries, so that a request smuggled through another protocol is none.
const MARK: &str = "workload.spiffe.io";
/// How long the whole call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The most identities listed in an error.
const LISTED_MAX: usize = 8;

/// A request for SVIDs. Field numbers are the standard's.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct JwtSvidRequest {
    /// Where it is to be good.
    #[prost(string, repeated, tag = "1")]
    pub(crate) audience: Vec<String>,
    /// The one identity wanted, or empty for all there are.
    #[prost(string, tag = "2")]
    pub(crate) spiffe_id: String,
}

/// The SVIDs issued. It holds credentials, so it has no `Debug`.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct JwtSvidResponse {
    /// One for each identity.
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<JwtSvid>,
}

/// One SVID.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct JwtSvid {
    /// Whose it is.
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    /// The token.
    #[prost(string, tag = "2")]
    pub(crate) svid: String,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    /// Nobody listens there.
    #[error(
        "no identity: the Workload API is not at {}: {problem}; start Carnet (`carnet up`), or name its socket \
         with --socket or SPIFFE_ENDPOINT_SOCKET", socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// This process is no agent.
    #[error(
        "no identity: this process (uid {uid}, gid {gid}, executable {executable}) is no registered agent, or one that \
         is locked; have an operator register one whose selectors match it (`carnet agent add`), and run it under \
         a uid that is no operator's"
    )]
    NotAnAgent {
        /// Our uid.
        uid: u32,
        /// Our gid.
        gid: u32,
        /// What we run.
        executable: String,
    },
    /// It is several agents.
    #[error("this process is several agents ({0}): name one with --spiffe-id")]
    Ambiguous(String),
    /// It is one, but not for the issuer we were told of.
    #[error(
        "no identity for {issuer}: the Carnet behind this socket has another issuer, and compares it letter by letter; \
         set --issuer or CARNET_ISSUER to the `issuer` in its /.well-known/oauth-authorization-server"
    )]
    OtherIssuer {
        /// The issuer asked for.
        issuer: String,
    },
    /// The Workload API said no for another reason.
    #[error("no identity: the Workload API answered {code:?}: {message}")]
    Refused {
        /// The code.
        code: Code,
        /// What it said.
        message: String,
    },
    /// It did not answer.
    #[error("no identity: the Workload API did not answer within {} s", CALL_TIMEOUT.as_secs())]
    Late,
}

/// Where a process's identity comes from.
#[async_trait]
pub(crate) trait Identity: Send + Sync {
    /// A JWT-SVID for `audience`.
    async fn svid(&self, audience: &str) -> Result<SecretString, WorkloadError>;
}

/// The Workload API on a socket.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    socket: PathBuf,
    spiffe_id: Option<SpiffeId>,
}

impl Workload {
    /// The Workload API at `socket`, asked for `spiffe_id`, or for the only identity there is.
    pub(crate) fn new(socket: PathBuf, spiffe_id: Option<SpiffeId>) -> Self {
        Self { socket, spiffe_id }
    }

    async fn fetch(&self, audience: &str) -> Result<JwtSvidResponse, WorkloadError> {
        let channel = self.channel().await?;
        let mut request = Request::new(JwtSvidRequest {
            audience: vec![audience.to_owned()],
            spiffe_id: self.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        });
        request.metadata_mut().insert(MARK, MetadataValue::from_static("true"));
        let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        grpc.ready().await.map_err(|error| self.unreachable(&error))?;
        let codec = ProstCodec::<JwtSvidRequest, JwtSvidResponse>::default();
        let path = PathAndQuery::from_static(FETCH_JWT_SVID);
        let answer =
            grpc.unary(request, path, codec).await.map_err(|status| refused(&status, audience))?;
        Ok(answer.into_inner())
    }

    async fn channel(&self) -> Result<Channel, WorkloadError> {
        let socket = self.socket.clone();
        let connector = service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address is never looked at: the connector knows where to go.
        Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> WorkloadError {
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        WorkloadError::Unreachable { socket: self.socket.clone(), problem: cause.to_string() }
    }
}

#[async_trait]
impl Identity for Workload {
    async fn svid(&self, audience: &str) -> Result<SecretString, WorkloadError> {
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.fetch(audience)).await;
        only(answer.map_err(|_| WorkloadError::Late)??.svids)
    }
}

/// The one SVID there is. Were any of several taken, a process could act as whom nobody meant.
fn only(svids: Vec<JwtSvid>) -> Result<SecretString, WorkloadError> {
    let ids: Vec<&str> =
        svids.iter().take(LISTED_MAX).map(|svid| svid.spiffe_id.as_str()).collect();
    if ids.len() > 1 {
        return Err(WorkloadError::Ambiguous(ids.join(", ")));
    }
    svids.into_iter().next().map(|svid| svid.svid.into()).ok_or_else(not_an_agent)
}

fn refused(status: &Status, audience: &str) -> WorkloadError {
    match status.code() {
        Code::PermissionDenied if status.message().contains("audience") => {
            WorkloadError::OtherIssuer { issuer: audience.to_owned() }
        }
        Code::PermissionDenied => not_an_agent(),
        code => {
            WorkloadError::Refused { code, message: status.message().chars().take(300).collect() }
        }
    }
}

fn not_an_agent() -> WorkloadError {
    let executable = std::env::current_exe();
    let executable = executable.as_deref().unwrap_or(Path::new("unknown")).display().to_string();
    WorkloadError::NotAnAgent {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        executable,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::agent::fixture::{Answer, FakeWorkloadApi};

    #[tokio::test]
    async fn an_svid_is_asked_for_one_audience_with_the_mark_of_the_standard() {
        let api =
            FakeWorkloadApi::start(Answer::Svids(vec![("spiffe://a/agent/x", "svid-1")])).await;
        let svid = api.workload(None).svid("http://127.0.0.1:1").await.unwrap();
        assert_eq!(svid.expose_secret(), "svid-1");
        let asked = api.asked();
        assert_eq!(asked.audience, ["http://127.0.0.1:1"]);
        assert_eq!(asked.spiffe_id, "");
        assert!(api.was_marked());
    }

    #[tokio::test]
    async fn a_process_that_is_several_agents_must_say_which() {
        let both = vec![("spiffe://a/agent/x", "1"), ("spiffe://a/agent/y", "2")];
        let api = FakeWorkloadApi::start(Answer::Svids(both)).await;
        let error = api.workload(None).svid("http://127.0.0.1:1").await.unwrap_err().to_string();
        assert!(error.contains("spiffe://a/agent/y") && error.contains("--spiffe-id"), "{error}");
        let named = api.workload(Some("spiffe://a/agent/y".parse().unwrap()));
        let _ = named.svid("http://127.0.0.1:1").await;
        assert_eq!(api.asked().spiffe_id, "spiffe://a/agent/y");
    }

    #[tokio::test]
    async fn a_process_that_is_no_agent_is_told_its_selectors() {
        let refused = Answer::Refused(Code::PermissionDenied, "no identity issued");
        let api = FakeWorkloadApi::start(refused).await;
        let error = api.workload(None).svid("http://127.0.0.1:1").await.unwrap_err().to_string();
        let uid = rustix::process::getuid().as_raw();
        assert!(error.contains(&format!("uid {uid}")) && error.contains("agent add"), "{error}");
    }

    #[tokio::test]
    async fn an_issuer_the_workload_api_does_not_know_is_told_as_that() {
        let message = "no identity issued for this audience";
        let api = FakeWorkloadApi::start(Answer::Refused(Code::PermissionDenied, message)).await;
        let error = api.workload(None).svid("http://localhost:1").await.unwrap_err().to_string();
        assert!(error.contains("http://localhost:1") && error.contains("--issuer"), "{error}");
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_named() {
        let workload = Workload::new("/nowhere/agent.sock".into(), None);
        let error = workload.svid("http://127.0.0.1:1").await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/agent.sock") && error.contains("carnet up"), "{error}");
    }
}
