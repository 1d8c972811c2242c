//! The operators' socket. Who speaks is told by the kernel, never by the request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carnet_core::UserName;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tower::Layer;

use super::{Inspect, Operator, router};
use crate::broker::Broker;

/// Which user a uid is.
pub type Operators = BTreeMap<u32, UserName>;

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
    operators: Operators,
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
    Ok(accept_forever(listener, router(broker, inspect), operators))
}

async fn accept_forever(listener: UnixListener, router: axum::Router, operators: Operators) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection of an operator could not be accepted");
                continue;
            }
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let Some(user) = operators.get(&peer.uid()) else {
            tracing::warn!(
                uid = peer.uid(),
                "an unknown uid on the operators' socket was turned away"
            );
            tokio::spawn(turn_away(stream, peer.uid()));
            continue;
        };
        let service = axum::Extension(Operator(user.clone())).layer(router.clone());
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            let service = TowerToHyperService::new(service);
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "an operator's connection ended");
            }
        });
    }
}

async fn turn_away(stream: UnixStream, uid: u32) {
    let message = format!("uid {uid} is no operator: add it under `[[user]]` in carnet.toml");
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
