//! The echo server: one tool, which returns its argument.

use rmcp::{
    ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{Implementation, ServerCapabilities, ServerConfig},
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// An MCP server with the single tool `echo`.
#[derive(Debug, Clone)]
pub struct Echo {
    // Built once: the schemas must not be generated anew for every stateless request.
    tools: ToolRouter<Self>,
}

/// What to return.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoArgs {
    /// The text to return.
    pub text: String,
}

#[tool_router(router = tools)]
impl Echo {
    /// An echo server.
    #[must_use]
    pub fn new() -> Self {
        Self { tools: Self::tools() }
    }

    /// Returns its text unchanged.
    #[tool(annotations(read_only_hint = true, open_world_hint = false))]
    async fn echo(&self, Parameters(args): Parameters<EchoArgs>) -> String {
        args.text
    }
}

impl Default for Echo {
    fn default() -> Self {
        Self::new()
    }
}

#[tool_handler(router = self.tools)]
impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("echo-upstream", env!("CARGO_PKG_VERSION")))
    }
}
