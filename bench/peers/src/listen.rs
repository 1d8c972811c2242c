//! A streamable HTTP listener for a fixture server.

use std::{io::Write, net::SocketAddr, sync::Arc};

use axum::Router;
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tokio::net::TcpListener;

/// The path under which every fixture speaks MCP.
pub const MCP_PATH: &str = "/mcp";

/// A fixture server that has its port but answers nobody yet.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Listening {
    /// Takes the port: sessions up to 2025-11-25, stateless from 2026-07-28. `server` is called for each session and,
    /// where there are none, for each request.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn bind<S: ServerHandler>(
        server: impl Fn() -> S + Send + Sync + 'static,
        address: SocketAddr,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        // Without a session an answer that stands alone is plain JSON; with one it is an event stream all the same.
        // Only loopback names and the address itself: a rebound DNS name is neither.
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let config = StreamableHttpServerConfig::default()
            .with_json_response(true)
            .with_allowed_hosts(hosts.into_iter().chain([address.ip().to_string()]))
            .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*"]);
        let sessions = Arc::new(LocalSessionManager::default());
        let service = StreamableHttpService::new(move || Ok(server()), sessions, config);
        Ok(Self { listener, address, router: Router::new().nest_service(MCP_PATH, service) })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{MCP_PATH}", self.address)
    }

    /// Prints the URL as one line and answers until the process is told to stop.
    ///
    /// # Errors
    ///
    /// When stdout or the listener fails.
    pub async fn announce_and_serve(self) -> std::io::Result<()> {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", self.url())?;
        stdout.flush()?;
        tokio::select! {
            served = self.serve() => served,
            stopped = stop() => stopped,
        }
    }

    /// Answers for ever.
    ///
    /// # Errors
    ///
    /// When the listener fails.
    pub async fn serve(self) -> std::io::Result<()> {
        use axum::serve::ListenerExt;
        // A small answer must not wait for the acknowledgement of the one before it.
        let listener = self.listener.tap_io(|stream| {
            let _best_effort = stream.set_nodelay(true);
        });
        axum::serve(listener, self.router).await
    }
}

async fn stop() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
