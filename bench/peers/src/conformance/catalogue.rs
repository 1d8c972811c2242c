//! What the fixture lists: names, descriptions and schemas.

use rmcp::model::{JsonObject, Prompt, PromptArgument, Resource, ResourceTemplate, Tool};
use serde_json::{Value, json};

/// The tools without arguments.
const PLAIN: [(&str, &str); 23] = [
    ("test_simple_text", "Returns one text"),
    ("test_image_content", "Returns an image"),
    ("test_audio_content", "Returns a sound"),
    ("test_embedded_resource", "Returns an embedded resource"),
    ("test_multiple_content_types", "Returns a text, an image and a resource"),
    ("test_error_handling", "Always fails"),
    ("test_tool_with_logging", "Logs while it runs"),
    ("test_logging_tool", "Logs while it runs, if the request asks for logs"),
    ("test_tool_with_progress", "Reports progress while it runs"),
    ("test_elicitation_sep1034_defaults", "Asks the user a form with default values"),
    ("test_elicitation_sep1330_enums", "Asks the user a form with choices of every kind"),
    ("test_missing_capability", "Needs a client that can sample"),
    ("test_streaming_elicitation", "Needs an answer of the user, on a stream"),
    ("test_trigger_tool_change", "Announces that the list of tools changed"),
    ("test_trigger_prompt_change", "Announces that the list of prompts changed"),
    ("test_input_required_result_elicitation", "Needs the user's name"),
    ("test_input_required_result_sampling", "Needs a model's answer"),
    ("test_input_required_result_list_roots", "Needs the client's roots"),
    ("test_input_required_result_request_state", "Needs a confirmation, with a state"),
    ("test_input_required_result_multiple_inputs", "Needs three answers at once"),
    ("test_input_required_result_multi_round", "Needs two answers, one after the other"),
    ("test_input_required_result_tampered_state", "Refuses a state that was changed"),
    ("test_input_required_result_capabilities", "Asks only what the client can answer"),
];

pub(super) fn tools() -> Vec<Tool> {
    let nothing = json!({ "type": "object", "properties": {} });
    let plain = PLAIN.iter().map(|(name, about)| tool(name, about, &nothing));
    let mut tools: Vec<Tool> = plain.collect();
    tools.push(tool("test_sampling", "Asks the client's model", &text_schema("prompt")));
    tools.push(tool("test_elicitation", "Asks the user", &text_schema("message")));
    tools.push(tool(
        "test_header_parameter",
        "Names a region, also in a header",
        &json!({
            "type": "object",
            "properties": { "region": { "type": "string", "x-mcp-header": "Region" } },
            "required": ["region"],
        }),
    ));
    let about = "Tool with JSON Schema 2020-12 features";
    tools.push(tool("json_schema_2020_12_tool", about, &json_schema_2020_12()));
    tools
}

pub(super) fn prompts() -> Vec<Prompt> {
    let argument = |name: &str, about: &str| {
        PromptArgument::new(name).with_description(about).with_required(true)
    };
    let two = vec![argument("arg1", "The first"), argument("arg2", "The second")];
    let uri = vec![argument("resourceUri", "The resource to embed")];
    vec![
        Prompt::new("test_simple_prompt", Some("One text"), None),
        Prompt::new("test_prompt_with_arguments", Some("A text with both arguments"), Some(two)),
        Prompt::new("test_prompt_with_embedded_resource", Some("A resource, embedded"), Some(uri)),
        Prompt::new("test_prompt_with_image", Some("An image and a text"), None),
        Prompt::new("test_input_required_result_prompt", Some("Needs a context first"), None),
    ]
}

pub(super) fn resources() -> Vec<Resource> {
    vec![
        Resource::new("test://static-text", "static-text")
            .with_description("A text that never changes")
            .with_mime_type("text/plain"),
        Resource::new("test://static-binary", "static-binary")
            .with_description("An image that never changes")
            .with_mime_type("image/png"),
        Resource::new("test://watched-resource", "watched-resource")
            .with_description("A text that can be subscribed to")
            .with_mime_type("text/plain"),
    ]
}

pub(super) fn resource_templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new("test://template/{id}/data", "template")
            .with_description("Data made for an id")
            .with_mime_type("application/json"),
    ]
}

fn tool(name: &str, about: &str, schema: &Value) -> Tool {
    let schema: JsonObject = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name.to_owned(), about.to_owned(), schema)
}

fn text_schema(argument: &str) -> Value {
    json!({
        "type": "object",
        "properties": { argument: { "type": "string" } },
        "required": [argument],
    })
}

/// Every keyword of the 2020-12 dialect that must survive being listed.
fn json_schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}
