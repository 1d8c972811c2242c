//! The operators' socket. Who speaks is told by the kernel, never by the request.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use carnet_core::UserName;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tower::Layer;

use super::confinement::Confinement;
use super::{Desk, Inspect, Operator, router};
use crate::broker::Broker;
use crate::lineage::descends_from_us;

/// The most operators' connections at once.
const CONNECTIONS_MAX: usize = 256;
/// The most connections of others that are told so at once; the rest are just closed. Anyone on the
/// machine may connect: none of them may keep an operator from the brakes.
const STRANGERS_MAX: usize = 8;
/// How long a stranger has, and an operator to send the head of a request.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(2);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait where a connection cannot be accepted: it is for want of something.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Which user a uid is.
pub type Operators = BTreeMap<u32, UserName>;

/// Who may do what on the operators' socket, from the configuration.
#[derive(Debug, Clone, Default)]
pub struct OperatorOptions {
    /// Who the operators are.
    pub operators: Operators,
    /// Whether an upstream's child process may run as Carnet itself: a trial on one machine.
    pub same_user: bool,
}

/// Why the operators' socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the operators' socket {path} could not be opened: {problem}")]
pub struct OperatorSocketError {
    path: PathBuf,
    problem: String,
}

/// Listens on `socket` and serves every operator that connects, until it is dropped.
pub async fn serve(
    broker: Arc<Broker>,
    inspect: Arc<dyn Inspect>,
    options: OperatorOptions,
    socket: &Path,
) -> Result<impl Future<Output = ()> + Send + use<>, OperatorSocketError> {
    let failed = |problem: String| OperatorSocketError { path: socket.to_owned(), problem };
    if UnixStream::connect(socket).await.is_ok() {
        return Err(failed("another Carnet listens on it: stop that one first".into()));
    }
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).map_err(|error| failed(error.to_string()))?;
    // Anyone may connect; only known uids are served.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(socket, open).map_err(|error| failed(error.to_string()))?;
    let OperatorOptions { operators, same_user } = options;
    let operator_uids: BTreeSet<u32> = operators.keys().copied().collect();
    let own_uid = rustix::process::geteuid().as_raw();
    let confinement = Arc::new(Confinement { operator_uids, same_user, own_uid });
    let names = Arc::new(operators.values().cloned().collect());
    let router = router(Desk { broker, inspect, confinement, operators: names });
    Ok(accept_forever(listener, router, operators))
}

async fn accept_forever(listener: UnixListener, router: axum::Router, operators: Operators) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection of an operator could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let user = match known(&operators, peer) {
            Ok(user) => user,
            Err(problem) => {
                if let Ok(room) = Arc::clone(&strangers).try_acquire_owned() {
                    tokio::spawn(async move {
                        let told = turn_away(stream, peer, problem);
                        let _ = tokio::time::timeout(STRANGER_TIMEOUT, told).await;
                        drop(room);
                    });
                }
                continue;
            }
        };
        let Ok(room) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(%user, "too many operators' connections: one was closed");
            continue;
        };
        let service = axum::Extension(Operator(user.clone())).layer(router.clone());
        tokio::spawn(async move {
            let mut connection = auto::Builder::new(TokioExecutor::new());
            connection.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            let service = TowerToHyperService::new(service);
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "an operator's connection ended");
            }
            drop(room);
        });
    }
}

/// The operator at the other end, or why there is none. A process Carnet started is nobody,
/// whatever its uid: it speaks for an upstream server.
fn known(operators: &Operators, peer: UCred) -> Result<&UserName, String> {
    let uid = peer.uid();
    let unknown = || format!("uid {uid} is no operator: add it under `[[user]]` in carnet.toml");
    let user = operators.get(&uid).ok_or_else(unknown)?;
    // What runs outside of the processes we see was not started by us.
    let Some(pid) = peer.pid().filter(|pid| *pid > 0) else { return Ok(user) };
    match descends_from_us(pid) {
        Some(false) => Ok(user),
        Some(true) => Err(format!(
            "process {pid} was started by Carnet: an upstream server is no operator, whatever its uid"
        )),
        // Processes of our own uid are never hidden from us: this one is gone, and what it left
        // behind is not obeyed. No child runs under the uid of an operator that is not ours.
        None if uid == rustix::process::geteuid().as_raw() => Err(format!(
            "process {pid} cannot be told from one that Carnet started: stay until you are answered"
        )),
        None => Ok(user),
    }
}

async fn turn_away(stream: UnixStream, peer: UCred, message: String) {
    tracing::warn!(uid = peer.uid(), pid = ?peer.pid(), %message, "a process on the operators' socket was turned away");
    let failure =
        super::Failure::new(axum::http::StatusCode::FORBIDDEN, "not_an_operator", message);
    let router = axum::Router::new().fallback(move || {
        let failure = failure.clone();
        async move { failure }
    });
    let connection = auto::Builder::new(TokioExecutor::new());
    let _ =
        connection.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}
