//! The fixture server for the official MCP conformance suite.
//!
//! The suite's server scenarios expect tools, resources and prompts of certain names that behave in certain ways. This
//! server has them, so that the suite can be run once against it directly and once through a gateway: a gateway that
//! changes nothing shows the same result twice. It does not have the suite's extensions (tasks, skills).

#![expect(deprecated, reason = "the suite tests what older revisions had")]

mod asking;
mod catalogue;
mod content;
mod rounds;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse,
        Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
        ListToolsResult, LoggingLevel, PaginatedRequestParams, ReadResourceRequestParams,
        ReadResourceResponse, RequestStateCodec, ServerCapabilities, ServerConfig,
        SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
        UnsubscribeRequestParams,
    },
    service::{RequestContext, SubscriptionContext},
};
use thiserror::Error;
use tokio::sync::broadcast;

use rounds::Rounds;

/// How many list changes a slow listener may fall behind.
const CHANGES_BEHIND_MAX: usize = 16;

/// The fixture could not be set up.
#[derive(Debug, Error)]
#[error("no key for the request states could be made; is there a random number generator?")]
pub struct FixtureError;

/// The fixture server, one for each session.
#[derive(Debug, Clone)]
pub struct Fixture {
    tools: Arc<[Tool]>,
    rounds: Rounds,
    changes: broadcast::Sender<Change>,
    /// The least severe log message the session wants, by its place in the list of levels.
    log_threshold: Arc<AtomicU8>,
}

/// A list that changed, for those who listen.
#[derive(Debug, Clone, Copy)]
enum Change {
    Tools,
    Prompts,
}

impl Fixture {
    /// A fixture with a key of its own for the states it hands out.
    ///
    /// # Errors
    ///
    /// When no random key can be had.
    pub fn new() -> Result<Self, FixtureError> {
        let mut key = [0_u8; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| FixtureError)?;
        let codec = RequestStateCodec::try_new(key).map_err(|_| FixtureError)?;
        Ok(Self {
            tools: catalogue::tools().into(),
            rounds: Rounds::new(codec),
            changes: broadcast::Sender::new(CHANGES_BEHIND_MAX),
            log_threshold: Arc::default(),
        })
    }

    /// The same fixture for another session, which chooses its own log level.
    #[must_use]
    pub fn for_session(&self) -> Self {
        Self { log_threshold: Arc::default(), ..self.clone() }
    }

    fn announce(&self, change: Change) {
        // Nobody listening is fine: then nobody asked to be told.
        let _listeners = self.changes.send(change);
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new(
            "conformance-upstream",
            env!("CARGO_PKG_VERSION"),
        ))
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.log_threshold.store(severity(request.level), Ordering::Relaxed);
        Ok(())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(answer) = self.rounds.tool(&request, &context) {
            return answer;
        }
        if let Some(result) = content::tool(&request) {
            return Ok(result.into());
        }
        match request.name.as_ref() {
            "test_tool_with_progress" => asking::progress(&context).await.map(Into::into),
            "test_tool_with_logging" | "test_logging_tool" => {
                let threshold = self.log_threshold.load(Ordering::Relaxed);
                asking::log(&context, threshold).await.map(Into::into)
            }
            "test_sampling" => asking::sample(&request, &context).await.map(Into::into),
            "test_elicitation"
            | "test_elicitation_sep1034_defaults"
            | "test_elicitation_sep1330_enums" => {
                asking::elicit(&request, &context).await.map(Into::into)
            }
            "test_missing_capability" => asking::need_sampling(&context).map(Into::into),
            "test_trigger_tool_change" => {
                self.announce(Change::Tools);
                Ok(content::text("The list of tools was announced as changed.").into())
            }
            "test_trigger_prompt_change" => {
                self.announce(Change::Prompts);
                Ok(content::text("The list of prompts was announced as changed.").into())
            }
            other => Err(ErrorData::invalid_params(format!("there is no tool {other}"), None)),
        }
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(catalogue::prompts()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        match self.rounds.prompt(&request, &context) {
            Some(answer) => answer,
            None => content::prompt(&request).map(Into::into),
        }
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(catalogue::resources()))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(catalogue::resource_templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        content::resource(&request.uri).map(Into::into)
    }

    async fn subscribe(
        &self,
        _request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // The fixture's resources never change, so there is never anything to tell a subscriber.
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            let sent = match change {
                Ok(Change::Tools) if context.accepted().tools_list_changed == Some(true) => {
                    context.sink().notify_tool_list_changed().await
                }
                Ok(Change::Prompts) if context.accepted().prompts_list_changed == Some(true) => {
                    context.sink().notify_prompt_list_changed().await
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }
}

fn severity(level: LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Notice => 2,
        LoggingLevel::Warning => 3,
        LoggingLevel::Error => 4,
        LoggingLevel::Critical => 5,
        LoggingLevel::Alert => 6,
        LoggingLevel::Emergency => 7,
    }
}
