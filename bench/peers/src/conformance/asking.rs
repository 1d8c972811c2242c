//! Tools that speak to the client while they run: progress, logs, and the requests older revisions let a server send.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, ContentBlock,
        CreateMessageRequestParams, ElicitRequestParams, LoggingLevel,
        LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion,
        SamplingMessage,
    },
    service::{RequestContext, ServiceError},
};
use serde_json::{Value, json};

use super::{content::text, severity};

/// The pause the suite asks for, so that the messages are seen to arrive one by one.
const STEP: Duration = Duration::from_millis(50);

pub(super) async fn progress(
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    for (step, done) in [0.0, 50.0, 100.0].into_iter().enumerate() {
        if step > 0 {
            tokio::time::sleep(STEP).await;
        }
        if let Some(token) = context.meta.get_progress_token() {
            let progress = ProgressNotificationParam::new(token, done).with_total(100.0);
            context.peer.notify_progress(progress).await.map_err(unsent)?;
        }
    }
    Ok(text("The tool has finished; its progress was reported if it was asked for."))
}

pub(super) async fn log(
    context: &RequestContext<RoleServer>,
    session_threshold: u8,
) -> Result<CallToolResult, ErrorData> {
    let stateless =
        context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
    let wanted =
        if stateless { context.meta.log_level().map(severity) } else { Some(session_threshold) };
    let messages = ["Tool execution started", "Tool processing data", "Tool execution completed"];
    for (step, message) in messages.into_iter().enumerate() {
        if step > 0 {
            tokio::time::sleep(STEP).await;
        }
        if wanted.is_some_and(|threshold| severity(LoggingLevel::Info) >= threshold) {
            let entry = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message));
            context.peer.notify_logging_message(entry).await.map_err(unsent)?;
        }
    }
    Ok(text("The tool has finished; it logged if it was asked to."))
}

pub(super) async fn sample(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let prompt = argument(request, "prompt")?;
    if !has(context, |capabilities| capabilities.sampling.is_some()) {
        return Ok(failed("the client cannot sample"));
    }
    let question = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    match context.peer.create_message(question).await {
        Ok(answer) => {
            let answer = serde_json::to_value(&answer.message.content).unwrap_or_default();
            let said = answer.get("text").and_then(Value::as_str).map(str::to_owned);
            Ok(text(format!("LLM response: {}", said.unwrap_or_else(|| answer.to_string()))))
        }
        Err(error) => Ok(failed(&error.to_string())),
    }
}

pub(super) async fn elicit(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let (message, schema, label) = match request.name.as_ref() {
        "test_elicitation" => (argument(request, "message")?, user_form(), "User response"),
        "test_elicitation_sep1034_defaults" => {
            ("Please confirm the defaults", default_form(), "Elicitation completed")
        }
        _ => ("Please choose", choice_form(), "Elicitation completed"),
    };
    if !has(context, |capabilities| capabilities.elicitation.is_some()) {
        return Ok(failed("the client cannot ask its user"));
    }
    match context.peer.create_elicitation(form(message, schema)?).await {
        Ok(answer) => {
            let action = serde_json::to_value(&answer.action).unwrap_or_default();
            let action = action.as_str().unwrap_or_default();
            let content = answer.content.unwrap_or_else(|| json!({}));
            Ok(text(format!("{label}: action={action}, content={content}")))
        }
        Err(error) => Ok(failed(&error.to_string())),
    }
}

pub(super) fn need_sampling(
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    if has(context, |capabilities| capabilities.sampling.is_some()) {
        return Ok(text("The client can sample."));
    }
    let required = ClientCapabilities::builder().enable_sampling().build();
    Err(ErrorData::missing_required_client_capability(required))
}

/// A form to ask the user.
pub(super) fn form(message: &str, schema: Value) -> Result<ElicitRequestParams, ErrorData> {
    let requested_schema = serde_json::from_value(schema)
        .map_err(|error| ErrorData::internal_error(format!("the form: {error}"), None))?;
    let message = message.to_owned();
    Ok(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema })
}

/// Whether the client declared what `check` looks for.
pub(super) fn has(
    context: &RequestContext<RoleServer>,
    check: impl FnOnce(&ClientCapabilities) -> bool,
) -> bool {
    context.client_capabilities().is_some_and(|capabilities| check(&capabilities))
}

fn user_form() -> Value {
    json!({
        "type": "object",
        "properties": {
            "username": { "type": "string", "description": "User's response" },
            "email": { "type": "string", "description": "User's email address" },
        },
        "required": ["username", "email"],
    })
}

fn default_form() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": {
                "type": "string", "enum": ["active", "inactive", "pending"], "default": "active",
            },
            "verified": { "type": "boolean", "default": true },
        },
    })
}

fn choice_form() -> Value {
    let titled = json!([
        { "const": "value1", "title": "First Option" },
        { "const": "value2", "title": "Second Option" },
        { "const": "value3", "title": "Third Option" },
    ]);
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
            "titledSingle": { "type": "string", "oneOf": titled },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {
                "type": "array",
                "items": { "type": "string", "enum": ["option1", "option2", "option3"] },
            },
            "titledMulti": { "type": "array", "items": { "anyOf": titled } },
        },
    })
}

fn argument<'a>(request: &'a CallToolRequestParams, name: &str) -> Result<&'a str, ErrorData> {
    let arguments = request.arguments.as_ref();
    let value = arguments.and_then(|arguments| arguments.get(name)).and_then(Value::as_str);
    value.ok_or_else(|| ErrorData::invalid_params(format!("{name} must be a text"), None))
}

fn failed(message: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(message)])
}

fn unsent(error: ServiceError) -> ErrorData {
    ErrorData::internal_error(format!("the client could not be told: {error}"), None)
}
