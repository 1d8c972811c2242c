//! The one table of methods: what each revision knows and how each method is decided.
//!
//! A method that is not in the table for a revision, sender and shape is refused. `docs/mcp.md`
//! shows the same table, and a test keeps the two alike.

use std::fmt;

use super::list::ListKind;
use super::message::Sender;
use super::refusal::Refusal;
use super::revision::Revision::{self, V2025_06_18, V2025_11_25, V2026_07_28};

/// How a method travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// As a request.
    Request,
    /// As a notification.
    Notification,
    /// Inside a result, as an entry of `inputRequests`.
    Input,
}

/// How the parameters become the arguments of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// `<resource>.tool.<name>` with `arguments`.
    Tool,
    /// `<resource>.resource.read` with `uri`.
    Resource,
    /// `<resource>.prompt.<name>` with `arguments`.
    Prompt,
    /// `<resource>.method.completion.complete` with `ref_type`, `ref`, `argument`, `value` and
    /// `context`.
    Completion,
    /// `<resource>.method.subscriptions.listen` with the members of `notifications`.
    Listen,
    /// `<resource>.method.elicitation.create` with every parameter, `mode` always among them.
    Elicitation,
    /// `<resource>.method.<this>` with every parameter.
    Method(&'static str),
}

/// How a method is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// As an operation of the task.
    Operation(Mapping),
    /// It is passed on, and the answer is filtered to what the task may do.
    List(ListKind),
    /// It opens or describes the exchange; it needs a live task and nothing more.
    Handshake,
    /// It belongs to an exchange that was decided, and is bound to that one.
    Relay,
    /// It is known, and refused.
    NotCarried(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// The method's name in messages.
    pub name: &'static str,
    /// Who sends it.
    pub sender: Sender,
    /// How it travels.
    pub shape: Shape,
    /// The revisions that know it.
    pub revisions: &'static [Revision],
    /// How it is decided.
    pub rule: Rule,
    /// The parameter that the header `Mcp-Name` repeats.
    pub named_by: Option<&'static str>,
}

/// The row for `name`, or the refusal where there is none or it is not carried.
pub fn find(
    revision: Revision,
    sender: Sender,
    shape: Shape,
    name: &str,
) -> Result<&'static Method, Refusal> {
    let method = METHODS
        .iter()
        .find(|method| {
            method.name == name
                && method.sender == sender
                && method.shape == shape
                && method.revisions.contains(&revision)
        })
        .ok_or(Refusal::Method { revision })?;
    match method.rule {
        Rule::NotCarried(because) => Err(Refusal::NotCarried { revision, because }),
        _ => Ok(method),
    }
}

/// The parameter that `Mcp-Name` repeats for the request `name`, carried or not.
pub(super) fn named_by(revision: Revision, name: &str) -> Option<&'static str> {
    METHODS
        .iter()
        .find(|method| {
            method.name == name
                && method.sender == Sender::Client
                && method.revisions.contains(&revision)
        })
        .and_then(|method| method.named_by)
}

/// Every method of every carried revision.
pub fn all() -> &'static [Method] {
    METHODS
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(Mapping::Tool) => f.write_str("operation `tool.<name>`"),
            Self::Operation(Mapping::Resource) => f.write_str("operation `resource.read`"),
            Self::Operation(Mapping::Prompt) => f.write_str("operation `prompt.<name>`"),
            Self::Operation(Mapping::Completion) => {
                f.write_str("operation `method.completion.complete`")
            }
            Self::Operation(Mapping::Listen) => {
                f.write_str("operation `method.subscriptions.listen`")
            }
            Self::Operation(Mapping::Elicitation) => {
                f.write_str("operation `method.elicitation.create`")
            }
            Self::Operation(Mapping::Method(item)) => write!(f, "operation `method.{item}`"),
            Self::List(kind) => write!(f, "filtered list of `{}`", kind.member()),
            Self::Handshake => f.write_str("handshake"),
            Self::Relay => f.write_str("relay"),
            Self::NotCarried(because) => write!(f, "not carried: {because}"),
        }
    }
}

const EVERY: &[Revision] = &[V2025_06_18, V2025_11_25, V2026_07_28];
const SESSIONS: &[Revision] = &[V2025_06_18, V2025_11_25];
const V11: &[Revision] = &[V2025_11_25];
const V28: &[Revision] = &[V2026_07_28];
const V11_ON: &[Revision] = &[V2025_11_25, V2026_07_28];

const TASKS: Rule = Rule::NotCarried("a task handle outlives the decision that made it");

const fn row(
    sender: Sender,
    shape: Shape,
    name: &'static str,
    revisions: &'static [Revision],
    rule: Rule,
) -> Method {
    Method { name, sender, shape, revisions, rule, named_by: None }
}

const fn request(name: &'static str, revisions: &'static [Revision], rule: Rule) -> Method {
    row(Sender::Client, Shape::Request, name, revisions, rule)
}

const fn named(
    name: &'static str,
    named_by: &'static str,
    revisions: &'static [Revision],
    rule: Rule,
) -> Method {
    Method { named_by: Some(named_by), ..request(name, revisions, rule) }
}

const fn notice(name: &'static str, revisions: &'static [Revision], rule: Rule) -> Method {
    row(Sender::Client, Shape::Notification, name, revisions, rule)
}

const fn server_request(name: &'static str, revisions: &'static [Revision], rule: Rule) -> Method {
    row(Sender::Server, Shape::Request, name, revisions, rule)
}

const fn server_notice(name: &'static str, revisions: &'static [Revision], rule: Rule) -> Method {
    row(Sender::Server, Shape::Notification, name, revisions, rule)
}

const fn input(name: &'static str, rule: Rule) -> Method {
    row(Sender::Server, Shape::Input, name, V28, rule)
}

const fn whole(item: &'static str) -> Rule {
    Rule::Operation(Mapping::Method(item))
}

static METHODS: &[Method] = &[
    request("initialize", SESSIONS, Rule::Handshake),
    request("server/discover", V28, Rule::Handshake),
    request("ping", SESSIONS, Rule::Relay),
    request("tools/list", EVERY, Rule::List(ListKind::Tools)),
    named("tools/call", "name", EVERY, Rule::Operation(Mapping::Tool)),
    request("resources/list", EVERY, Rule::List(ListKind::Resources)),
    request("resources/templates/list", EVERY, Rule::List(ListKind::Templates)),
    named("resources/read", "uri", EVERY, Rule::Operation(Mapping::Resource)),
    request("resources/subscribe", SESSIONS, whole("resources.subscribe")),
    request("resources/unsubscribe", SESSIONS, whole("resources.unsubscribe")),
    request("subscriptions/listen", V28, Rule::Operation(Mapping::Listen)),
    request("prompts/list", EVERY, Rule::List(ListKind::Prompts)),
    named("prompts/get", "name", EVERY, Rule::Operation(Mapping::Prompt)),
    request("completion/complete", EVERY, Rule::Operation(Mapping::Completion)),
    request("logging/setLevel", SESSIONS, whole("logging.setLevel")),
    named("tasks/get", "taskId", V11_ON, TASKS),
    named("tasks/update", "taskId", V28, TASKS),
    named("tasks/cancel", "taskId", V11_ON, TASKS),
    request("tasks/result", V11, TASKS),
    request("tasks/list", V11, TASKS),
    notice("notifications/initialized", SESSIONS, Rule::Handshake),
    notice("notifications/cancelled", EVERY, Rule::Relay),
    notice("notifications/progress", SESSIONS, Rule::Relay),
    notice("notifications/roots/list_changed", SESSIONS, Rule::Relay),
    notice("notifications/tasks/status", V11, TASKS),
    server_request("ping", SESSIONS, Rule::Relay),
    server_request("sampling/createMessage", SESSIONS, whole("sampling.createMessage")),
    server_request("elicitation/create", SESSIONS, Rule::Operation(Mapping::Elicitation)),
    server_request("roots/list", SESSIONS, whole("roots.list")),
    server_request("tasks/get", V11, TASKS),
    server_request("tasks/result", V11, TASKS),
    server_request("tasks/list", V11, TASKS),
    server_request("tasks/cancel", V11, TASKS),
    input("sampling/createMessage", whole("sampling.createMessage")),
    input("elicitation/create", Rule::Operation(Mapping::Elicitation)),
    input("roots/list", whole("roots.list")),
    server_notice("notifications/cancelled", EVERY, Rule::Relay),
    server_notice("notifications/progress", EVERY, Rule::Relay),
    server_notice("notifications/message", EVERY, Rule::Relay),
    server_notice("notifications/resources/updated", EVERY, Rule::Relay),
    server_notice("notifications/resources/list_changed", EVERY, Rule::Relay),
    server_notice("notifications/tools/list_changed", EVERY, Rule::Relay),
    server_notice("notifications/prompts/list_changed", EVERY, Rule::Relay),
    server_notice("notifications/subscriptions/acknowledged", V28, Rule::Relay),
    server_notice("notifications/elicitation/complete", V11, Rule::Relay),
    server_notice("notifications/tasks/status", V11, TASKS),
    server_notice("notifications/tasks", V28, TASKS),
];
