//! The desk as an MCP server: its tools, two resources and a prompt.

use std::sync::Arc;

use rmcp::{
    ErrorData, Json, RoleServer, ServerHandler,
    handler::server::wrapper::Parameters,
    model::{
        Implementation, ListResourcesResult, PaginatedRequestParams, PromptMessage,
        ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
        ResourceContents, Role, ServerCapabilities, ServerConfig,
    },
    prompt, prompt_handler, prompt_router,
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    credential::Credential,
    desk::{Customer, Desk, DeskError, Message, Orders, Refund, Refunds, Ticket, Tickets},
};

const HANDBOOK: &str = include_str!("handbook.md");
const HANDBOOK_URI: &str = "desk://handbook";
const OPEN_TICKETS_URI: &str = "desk://tickets/open";

/// One MCP session's view of the desk.
#[derive(Debug, Clone)]
pub struct DeskServer {
    desk: Arc<Desk>,
    /// The credential of a caller that comes without an HTTP request, that is over stdio.
    ambient: Option<Credential>,
}

/// Names one ticket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketArgs {
    /// The ticket's id, such as T-1001.
    pub ticket_id: String,
}

/// Names one customer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerArgs {
    /// The customer's id, such as C-100.
    pub customer_id: String,
}

/// No arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArgs {}

/// What to pay back, and why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundArgs {
    /// The order to refund, such as O-5001.
    pub order_id: String,
    /// How much to pay back, in cents.
    #[schemars(range(min = 1))]
    pub amount_cents: u64,
    /// Why, for the books.
    #[schemars(length(min = 1, max = 2000))]
    pub reason: String,
}

/// What to tell whom.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageArgs {
    /// Who gets the message, such as C-100.
    pub customer_id: String,
    /// The message.
    #[schemars(length(min = 1, max = 2000))]
    pub text: String,
}

/// Which ticket to close, and what to note.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseArgs {
    /// The ticket's id, such as T-1001.
    pub ticket_id: String,
    /// A note for the file.
    #[schemars(length(min = 1, max = 2000))]
    pub note: String,
}

#[tool_router]
impl DeskServer {
    /// A server over HTTP: each request shows its own credential.
    #[must_use]
    pub fn over_http(desk: Arc<Desk>) -> Self {
        Self { desk, ambient: None }
    }

    /// A server over stdio, whose only caller holds `credential`.
    #[must_use]
    pub fn over_stdio(desk: Arc<Desk>, credential: Credential) -> Self {
        Self { desk, ambient: Some(credential) }
    }

    /// Reads one ticket: who wrote it, about which order, and what it says.
    #[tool(annotations(title = "Read a ticket", read_only_hint = true, open_world_hint = false))]
    async fn get_ticket(
        &self,
        Parameters(args): Parameters<TicketArgs>,
    ) -> Result<Json<Ticket>, String> {
        answer(self.desk.ticket(&args.ticket_id))
    }

    /// Lists all tickets with their subject and status.
    #[tool(annotations(title = "List tickets", read_only_hint = true, open_world_hint = false))]
    async fn list_tickets(
        &self,
        Parameters(NoArgs {}): Parameters<NoArgs>,
    ) -> Result<Json<Tickets>, String> {
        answer(Ok(self.desk.tickets()))
    }

    /// Finds all orders of one customer.
    #[tool(annotations(title = "Find orders", read_only_hint = true, open_world_hint = false))]
    async fn search_orders(
        &self,
        Parameters(args): Parameters<CustomerArgs>,
    ) -> Result<Json<Orders>, String> {
        answer(self.desk.orders(&args.customer_id))
    }

    /// Reads one customer's name and address.
    #[tool(annotations(title = "Read a customer", read_only_hint = true, open_world_hint = false))]
    async fn get_customer(
        &self,
        Parameters(args): Parameters<CustomerArgs>,
    ) -> Result<Json<Customer>, String> {
        answer(self.desk.customer(&args.customer_id))
    }

    /// Lists every refund issued so far.
    #[tool(annotations(title = "List refunds", read_only_hint = true, open_world_hint = false))]
    async fn list_refunds(
        &self,
        Parameters(NoArgs {}): Parameters<NoArgs>,
    ) -> Result<Json<Refunds>, String> {
        answer(Ok(self.desk.refunds()))
    }

    /// Pays back part or all of an order. Money leaves the shop and does not come back.
    #[tool(annotations(
        title = "Refund an order",
        read_only_hint = false,
        destructive_hint = true,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn issue_refund(
        &self,
        Parameters(args): Parameters<RefundArgs>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Refund>, String> {
        let credential = self.credential(&context);
        answer(self.desk.issue_refund(credential, &args.order_id, args.amount_cents, &args.reason))
    }

    /// Sends a customer a message by e-mail.
    #[tool(annotations(
        title = "Write to a customer",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = true
    ))]
    async fn send_message(
        &self,
        Parameters(args): Parameters<MessageArgs>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Message>, String> {
        let credential = self.credential(&context);
        answer(self.desk.send_message(credential, &args.customer_id, &args.text))
    }

    /// Closes a ticket with a note.
    #[tool(annotations(
        title = "Close a ticket",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn close_ticket(
        &self,
        Parameters(args): Parameters<CloseArgs>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Ticket>, String> {
        let credential = self.credential(&context);
        answer(self.desk.close_ticket(credential, &args.ticket_id, &args.note))
    }

    /// What this request's caller may do: nothing but read unless it showed more.
    fn credential(&self, context: &RequestContext<RoleServer>) -> Credential {
        let parts = context.extensions.get::<axum::http::request::Parts>();
        parts
            .and_then(|parts| parts.extensions.get::<Credential>().copied())
            .or(self.ambient)
            .unwrap_or(Credential::Read)
    }
}

#[prompt_router]
#[expect(
    missing_docs,
    reason = "the SDK's macro adds an associated function without documentation"
)]
impl DeskServer {
    /// How to work through one ticket.
    #[prompt(name = "work_ticket", description = "Work through one ticket by the handbook")]
    async fn work_ticket(&self, Parameters(args): Parameters<TicketArgs>) -> Vec<PromptMessage> {
        let text = format!(
            "Work on ticket {} by the handbook ({HANDBOOK_URI}). Read the ticket and the customer's orders, refund \
             only the order the ticket is about, tell the customer, then close the ticket.",
            args.ticket_id
        );
        vec![PromptMessage::new_text(Role::User, text)]
    }
}

#[tool_handler(router = Self::tool_router())]
#[prompt_handler(router = Self::prompt_router())]
impl ServerHandler for DeskServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("support-desk", env!("CARGO_PKG_VERSION")))
            .with_instructions("A shop's support desk: tickets, customers, orders and refunds.")
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![
            Resource::new(HANDBOOK_URI, "handbook")
                .with_title("Handbook")
                .with_description("How the desk works and what it may promise")
                .with_mime_type("text/markdown"),
            Resource::new(OPEN_TICKETS_URI, "open-tickets")
                .with_title("Open tickets")
                .with_description("The tickets that wait for an answer")
                .with_mime_type("application/json"),
        ]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (text, mime_type) = match request.uri.as_str() {
            HANDBOOK_URI => (HANDBOOK.to_owned(), "text/markdown"),
            OPEN_TICKETS_URI => (self.open_tickets()?, "application/json"),
            other => {
                let message = format!("there is no resource {other}; list them first");
                return Err(ErrorData::resource_not_found(message, None));
            }
        };
        let contents = ResourceContents::text(text, request.uri).with_mime_type(mime_type);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

impl DeskServer {
    fn open_tickets(&self) -> Result<String, ErrorData> {
        let mut tickets = self.desk.tickets();
        tickets.tickets.retain(|ticket| ticket.status == "open");
        serde_json::to_string(&tickets)
            .map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }
}

/// A tool's answer: a record, or the desk's refusal as text. The signatures spell this type out because the SDK's macro
/// finds the output schema by its look.
fn answer<T>(result: Result<T, DeskError>) -> Result<Json<T>, String> {
    result.map(Json).map_err(|error| error.to_string())
}
