//! The SPIFFE Workload API: how a workload on this machine learns who it is, holding no secret.
//!
//! A workload connects to a Unix socket and asks. Who it is, the kernel says (the credentials of
//! its end of the socket); which agents that makes it, the registry says. It gets a JWT-SVID, good
//! for five minutes at one audience, or an X.509-SVID for TLS, and with either can ask for tokens. An SVID
//! grants nothing.
//!
//! The uid is the primary selector: another user cannot be an agent, whatever it runs. Group,
//! executable and digest narrow it, against mistakes more than against malice: a process can run
//! another's program.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

mod authority;
mod desk;
mod messages;
mod peer;
mod rpc;
mod socket;
mod svid;
#[cfg(test)]
mod tests;
mod x509;
mod x509_messages;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use carnet_identity::X509_SVID_TTL_S_MAX;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::broker::Broker;
use crate::workload::desk::Desk;
use crate::workload::rpc::WorkloadApi;

pub use socket::WorkloadSocket;

/// The most calls at once on one connection.
const CALLS_OF_CONNECTION_MAX: u32 = 16;
/// The longest list of headers read.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// How long a call may take to be answered.
const CALL_S_MAX: u64 = 30;
/// How long a silent connection is kept before it is asked whether anybody is there.
const KEEPALIVE_S: u64 = 60;
/// How long a connection may take to end when we stop.
const STOPPING_S_MAX: u64 = 2;

/// Who gets an identity, and for where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadOptions {
    /// The uids of operators. Together with Carnet's own uid they are no agent's.
    pub operator_uids: BTreeSet<u32>,
    /// Whether an agent may run as an operator or as Carnet itself, on a single-user machine. It
    /// warns each time.
    pub same_user: bool,
    /// Audiences an SVID may be for besides the issuer. Each is a place outside Carnet where an
    /// identity alone may be worth something, so there are none unless somebody says so.
    pub other_audiences: BTreeSet<String>,
    /// How long an X.509-SVID is good: an hour at most. Another is sent when half of it is over.
    pub x509_ttl_s: i64,
}

impl Default for WorkloadOptions {
    fn default() -> Self {
        Self {
            operator_uids: BTreeSet::new(),
            same_user: false,
            other_audiences: BTreeSet::new(),
            x509_ttl_s: X509_SVID_TTL_S_MAX,
        }
    }
}

/// Why the Workload API is not served.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The socket's folder.
    #[error("the folder {} for the Workload API socket cannot be made or read: {error}", dir.display())]
    Directory {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others could put their own socket there.
    #[error(
        "the folder {} can be written to by others, who could put their own socket in the place of Carnet's: \
         take that right away (`chmod go-w`), or choose another folder", dir.display()
    )]
    DirectoryOpen {
        /// The folder.
        dir: PathBuf,
    },
    /// Something is there that is not ours to remove.
    #[error(
        "{} is in use: another Carnet listens there, or it is not a socket. Stop that one, or choose another place",
        path.display()
    )]
    Occupied {
        /// The socket.
        path: PathBuf,
    },
    /// The socket could not be bound.
    #[error("the Workload API socket {} cannot be bound: {error}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Serving ended by itself.
    #[error("the Workload API stopped: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Serves the Workload API on `socket` until `stop` is cancelled.
pub async fn serve(
    broker: Arc<Broker>,
    socket: WorkloadSocket,
    options: WorkloadOptions,
    stop: CancellationToken,
) -> Result<(), WorkloadError> {
    let desk = Arc::new(Desk::new(broker, options, stop.clone()));
    let serving = Server::builder()
        .timeout(Duration::from_secs(CALL_S_MAX))
        .max_concurrent_streams(CALLS_OF_CONNECTION_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(KEEPALIVE_S)))
        .add_service(WorkloadApi(desk))
        .serve_with_incoming_shutdown(socket.incoming(), stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_secs(STOPPING_S_MAX)).await;
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = late => Ok(()),
    }
}
