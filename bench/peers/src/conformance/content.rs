//! Answers that need nobody else: texts, images, sounds, resources and prompts.

use rmcp::{
    ErrorData,
    model::{
        CallToolRequestParams, CallToolResult, ContentBlock, GetPromptRequestParams,
        GetPromptResult, PromptMessage, ReadResourceResult, ResourceContents, Role,
    },
};
use serde_json::{Value, json};

/// An image of one red pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
/// A sound of eight silent samples.
const WAV: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";

pub(super) fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

/// The answer of a tool that only returns content, if `request` names one.
pub(super) fn tool(request: &CallToolRequestParams) -> Option<CallToolResult> {
    let content = match request.name.as_ref() {
        "test_simple_text" => {
            vec![ContentBlock::text("This is a simple text response for testing.")]
        }
        "test_image_content" => vec![image()],
        "test_audio_content" => vec![ContentBlock::audio(WAV, "audio/wav")],
        "test_embedded_resource" => vec![embedded(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content.",
        )],
        "test_multiple_content_types" => vec![
            ContentBlock::text("Multiple content types test:"),
            image(),
            embedded(
                "test://mixed-content-resource",
                "application/json",
                &json!({ "test": "data", "value": 123 }).to_string(),
            ),
        ],
        "test_error_handling" => {
            let message = "This tool intentionally returns an error for testing";
            return Some(CallToolResult::error(vec![ContentBlock::text(message)]));
        }
        "test_header_parameter" => return Some(region(request)),
        "json_schema_2020_12_tool" => {
            let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
            vec![ContentBlock::text(format!("Called with {arguments}"))]
        }
        _ => return None,
    };
    Some(CallToolResult::success(content))
}

/// The prompt `request` names.
pub(super) fn prompt(request: &GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    let user = |content| PromptMessage::new(Role::User, content);
    let messages = match request.name.as_str() {
        "test_simple_prompt" => {
            vec![user(ContentBlock::text("This is a simple prompt for testing."))]
        }
        "test_prompt_with_arguments" => {
            let (one, two) = (argument(request, "arg1")?, argument(request, "arg2")?);
            let text = format!("Prompt with arguments: arg1='{one}', arg2='{two}'");
            vec![user(ContentBlock::text(text))]
        }
        "test_prompt_with_embedded_resource" => {
            let uri = argument(request, "resourceUri")?;
            let text = "Embedded resource content for testing.";
            vec![
                user(embedded(uri, "text/plain", text)),
                user(ContentBlock::text("Please process the embedded resource above.")),
            ]
        }
        "test_prompt_with_image" => {
            vec![user(image()), user(ContentBlock::text("Please analyze the image above."))]
        }
        other => {
            let message = format!("there is no prompt {other}");
            return Err(ErrorData::invalid_params(message, None));
        }
    };
    Ok(GetPromptResult::new(messages))
}

/// The resource at `uri`.
pub(super) fn resource(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let contents = match uri {
        "test://static-text" => {
            ResourceContents::text("This is the content of the static text resource.", uri)
        }
        "test://static-binary" => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
        "test://watched-resource" => ResourceContents::text("This text never changes.", uri),
        _ => from_template(uri).ok_or_else(|| {
            ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri })))
        })?,
    };
    Ok(ReadResourceResult::new(vec![contents]))
}

fn from_template(uri: &str) -> Option<ResourceContents> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    if id.is_empty() || id.contains('/') {
        return None;
    }
    let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
    Some(ResourceContents::text(data.to_string(), uri).with_mime_type("application/json"))
}

fn region(request: &CallToolRequestParams) -> CallToolResult {
    let arguments = request.arguments.as_ref();
    match arguments.and_then(|arguments| arguments.get("region")).and_then(Value::as_str) {
        Some(region) => text(format!("The region is {region}.")),
        None => CallToolResult::error(vec![ContentBlock::text("region must be a text")]),
    }
}

fn argument<'a>(request: &'a GetPromptRequestParams, name: &str) -> Result<&'a str, ErrorData> {
    let arguments = request.arguments.as_ref();
    let value = arguments.and_then(|arguments| arguments.get(name)).and_then(Value::as_str);
    value.ok_or_else(|| ErrorData::invalid_params(format!("{name} must be a text"), None))
}

fn image() -> ContentBlock {
    ContentBlock::image(PNG, "image/png")
}

fn embedded(uri: &str, mime_type: &str, text: &str) -> ContentBlock {
    ContentBlock::resource(ResourceContents::text(text, uri).with_mime_type(mime_type))
}
