//! The scripted agent: an ordinary MCP client that does one step at a time.

mod hijack;
mod outcome;
mod step;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient,
    model::{
        CallToolRequestParams, ClientCapabilities, ClientConfig, GetPromptRequestParams,
        Implementation, JsonObject, ProtocolVersion, ReadResourceRequestParams,
    },
    service::{ClientInitializeError, RunningService, ServiceError},
    transport::{
        StreamableHttpClientTransport, TokioChildProcess,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::process::Command;

pub use hijack::{ACTIONS_MAX, Injected, injected_actions};
pub use outcome::{Failure, Outcome};
pub use step::{LINE_BYTES_MAX, List, Step};

use crate::credential;

/// Where the agent's MCP server is.
#[derive(Debug, Clone)]
pub enum Target {
    /// A streamable HTTP server.
    Http {
        /// Its URL.
        url: String,
        /// A file with the bearer token to show. Read before every request: somebody else may renew it.
        token_file: Option<PathBuf>,
    },
    /// A server spoken to over its stdin and stdout.
    Stdio {
        /// The program to start.
        program: OsString,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
}

/// Which revision of MCP the agent speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// Sessions, with the 2025-06-18 handshake.
    V2025_06_18,
    /// Sessions, with the 2025-11-25 handshake.
    V2025_11_25,
    /// Stateless.
    V2026_07_28,
    /// Stateless where the server can, sessions otherwise.
    Auto,
}

/// One agent and, once it has spoken, its connection.
#[derive(Debug)]
pub struct Agent {
    target: Target,
    revision: Revision,
    patience: Duration,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    client: RunningService<RoleClient, ClientConfig>,
    token: Option<String>,
}

impl Agent {
    /// An agent that waits at most `patience` for any one answer. It connects at its first step.
    #[must_use]
    pub fn new(target: Target, revision: Revision, patience: Duration) -> Self {
        Self { target, revision, patience, live: None }
    }

    /// Carries out one step and says what came of it.
    pub async fn take(&mut self, step: Step) -> Outcome {
        let subject = step.subject();
        let patience = self.patience;
        let taken = tokio::time::timeout(patience, self.attempt(step)).await;
        let outcome = taken.unwrap_or_else(|_| Err(Failure::patience(patience)));
        if self.live.as_ref().is_some_and(|live| live.client.is_closed()) {
            self.live = None;
        }
        Outcome::of(subject, outcome)
    }

    /// Calls one tool.
    pub async fn call(&mut self, tool: &str, arguments: JsonObject) -> Outcome {
        self.take(Step::Tool { tool: tool.to_owned(), arguments }).await
    }

    /// Ends the connection in good order.
    pub async fn close(mut self) {
        self.disconnect().await;
    }

    async fn attempt(&mut self, step: Step) -> Result<Outcome, Failure> {
        let client = self.client().await?;
        match step {
            Step::Tool { tool, arguments } => {
                let request = CallToolRequestParams::new(tool).with_arguments(arguments);
                Ok(Outcome::from_tool(client.call_tool(request).await?))
            }
            Step::List { list: List::Tools } => Outcome::listing(&client.list_all_tools().await?),
            Step::List { list: List::Resources } => {
                Outcome::listing(&client.list_all_resources().await?)
            }
            Step::List { list: List::Prompts } => {
                Outcome::listing(&client.list_all_prompts().await?)
            }
            Step::Read { read } => {
                let request = ReadResourceRequestParams::new(read);
                Outcome::listing(&client.read_resource(request).await?.contents)
            }
            Step::Prompt { prompt, arguments } => {
                let request = GetPromptRequestParams::new(prompt).with_arguments(arguments);
                Outcome::listing(&client.get_prompt(request).await?.messages)
            }
        }
    }

    /// The live connection, made anew when there is none or when the token was renewed: the SDK's ordinary
    /// authorization setting belongs to a connection.
    async fn client(&mut self) -> Result<&RunningService<RoleClient, ClientConfig>, Failure> {
        let token = self.token()?;
        if self.live.as_ref().is_some_and(|live| live.token != token) {
            self.disconnect().await;
        }
        let live = match self.live.take() {
            Some(live) => live,
            None => Live { client: self.connect(token.clone()).await?, token },
        };
        Ok(&self.live.insert(live).client)
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        match &self.target {
            Target::Http { token_file: Some(path), .. } => {
                let token = credential::token(path);
                token.map(Some).map_err(|error| Failure::local(error.to_string()))
            }
            _ => Ok(None),
        }
    }

    async fn connect(
        &self,
        token: Option<String>,
    ) -> Result<RunningService<RoleClient, ClientConfig>, Failure> {
        let (config, lifecycle) = (self.revision.config(), self.revision.lifecycle());
        match &self.target {
            Target::Http { url, .. } => {
                let mut settings = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                if let Some(token) = token {
                    settings = settings.auth_header(token);
                }
                let transport = StreamableHttpClientTransport::from_config(settings);
                Ok(config.serve_with_lifecycle(transport, lifecycle).await?)
            }
            Target::Stdio { program, arguments } => {
                let mut command = Command::new(program);
                command.args(arguments);
                let transport = TokioChildProcess::new(command).map_err(|error| {
                    Failure::local(format!("{} does not start: {error}", program.display()))
                })?;
                Ok(config.serve_with_lifecycle(transport, lifecycle).await?)
            }
        }
    }

    async fn disconnect(&mut self) {
        if let Some(mut live) = self.live.take() {
            // A server that no longer answers must not hold the agent up; dropping the connection ends it as well.
            let _ended = live.client.close_with_timeout(Duration::from_secs(2)).await;
        }
    }
}

impl Revision {
    fn config(self) -> ClientConfig {
        let info = Implementation::new("support-agent", env!("CARGO_PKG_VERSION"));
        let version = match self {
            Self::V2025_06_18 => ProtocolVersion::V_2025_06_18,
            Self::V2025_11_25 | Self::Auto => ProtocolVersion::V_2025_11_25,
            Self::V2026_07_28 => ProtocolVersion::V_2026_07_28,
        };
        ClientConfig::new(ClientCapabilities::default(), info).with_protocol_version(version)
    }

    fn lifecycle(self) -> ClientLifecycleMode {
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        match self {
            Self::V2025_06_18 | Self::V2025_11_25 => ClientLifecycleMode::Initialize,
            Self::V2026_07_28 => ClientLifecycleMode::Discover { preferred_versions },
            Self::Auto => ClientLifecycleMode::Auto {
                preferred_versions,
                legacy_version: Some(ProtocolVersion::V_2025_11_25),
            },
        }
    }
}

impl From<ClientInitializeError> for Failure {
    fn from(error: ClientInitializeError) -> Self {
        let challenge = error.auth_challenge().map(str::to_owned);
        let inner = match &error {
            ClientInitializeError::JsonRpcError(data) => return Self::protocol(data),
            ClientInitializeError::TransportError { error, .. } => Some(error.error.as_ref() as _),
            ClientInitializeError::LegacyFallbackFailed { fallback, .. } => match fallback.as_ref()
            {
                ClientInitializeError::JsonRpcError(data) => return Self::protocol(data),
                ClientInitializeError::TransportError { error, .. } => {
                    Some(error.error.as_ref() as _)
                }
                _ => None,
            },
            _ => None,
        };
        Self::transport(error.to_string(), inner, challenge)
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let challenge = error.auth_challenge().map(str::to_owned);
        match &error {
            ServiceError::McpError(data) => Self::protocol(data),
            ServiceError::TransportSend(sent) => {
                Self::transport(error.to_string(), Some(sent.error.as_ref()), challenge)
            }
            _ => Self::transport(error.to_string(), None, challenge),
        }
    }
}
