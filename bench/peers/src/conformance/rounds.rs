//! Calls that need several rounds (2026-07-28): the server says what it needs, the client calls again with it.
//!
//! Nothing is kept between rounds. Which round it is travels in a sealed state, bound to the name of what was called.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock,
        CreateMessageRequest, CreateMessageRequestParams, ElicitRequest, GetPromptRequestParams,
        GetPromptResponse, GetPromptResult, InputRequest, InputRequiredResult, InputResponses,
        ListRootsRequest, PromptMessage, RequestStateCodec, Role, SamplingMessage, SealOptions,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use super::asking::{form, has};

/// The rounds of every call that has some.
#[derive(Debug, Clone)]
pub(super) struct Rounds {
    codec: Arc<RequestStateCodec>,
}

/// What one round asks for, by key.
type Round = Vec<(&'static str, InputRequest)>;

/// Where a call stands.
enum Stand {
    Ask(InputRequiredResult),
    Done(String),
}

/// What the client sent along, whatever it called.
struct Call<'a> {
    name: &'a str,
    state: Option<&'a str>,
    responses: Option<&'a InputResponses>,
}

impl Rounds {
    pub(super) fn new(codec: RequestStateCodec) -> Self {
        Self { codec: Arc::new(codec) }
    }

    /// The answer to a tool call, if the tool has rounds.
    pub(super) fn tool(
        &self,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Option<Result<CallToolResponse, ErrorData>> {
        let state = request.request_state.as_deref();
        let responses = request.input_responses.as_ref();
        let stand = self.stand(&Call { name: &request.name, state, responses }, context)?;
        Some(stand.map(|stand| match stand {
            Stand::Ask(needed) => needed.into(),
            Stand::Done(text) => CallToolResult::success(vec![ContentBlock::text(text)]).into(),
        }))
    }

    /// The answer to a prompt request, if the prompt has rounds.
    pub(super) fn prompt(
        &self,
        request: &GetPromptRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Option<Result<GetPromptResponse, ErrorData>> {
        let state = request.request_state.as_deref();
        let responses = request.input_responses.as_ref();
        let stand = self.stand(&Call { name: &request.name, state, responses }, context)?;
        Some(stand.map(|stand| match stand {
            Stand::Ask(needed) => needed.into(),
            Stand::Done(text) => {
                GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into()
            }
        }))
    }

    fn stand(
        &self,
        call: &Call<'_>,
        context: &RequestContext<RoleServer>,
    ) -> Option<Result<Stand, ErrorData>> {
        match rounds_of(call.name, context) {
            Ok(None) => None,
            Ok(Some(rounds)) => Some(self.advance(call, rounds, context)),
            Err(error) => Some(Err(error)),
        }
    }

    fn advance(
        &self,
        call: &Call<'_>,
        mut rounds: Vec<Round>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Stand, ErrorData> {
        let mut number = self.open(call)?;
        if number >= rounds.len() {
            return Err(ErrorData::invalid_params("the request state names no round", None));
        }
        if let Some(responses) = call.responses
            && all_answered(&rounds[number], responses)?
        {
            number += 1;
            if number == rounds.len() {
                return Ok(Stand::Done(conclusion(call.name, responses)));
            }
        }
        let round = rounds.swap_remove(number);
        require_capabilities(&round, context)?;
        let sealed = self.seal(call.name, number)?;
        let requests = round.into_iter().map(|(key, request)| (key.to_owned(), request)).collect();
        Ok(Stand::Ask(InputRequiredResult::new(Some(requests), sealed)))
    }

    fn open(&self, call: &Call<'_>) -> Result<usize, ErrorData> {
        match call.state {
            None => Ok(0),
            Some(state) => self
                .codec
                .open_json_with(state, call.name.as_bytes())
                .map_err(|error| ErrorData::invalid_params(error.to_string(), None)),
        }
    }

    fn seal(&self, name: &str, number: usize) -> Result<Option<String>, ErrorData> {
        // The single question needs no state: its answer says everything.
        if !has_state(name) {
            return Ok(None);
        }
        let options = SealOptions::new().associated_data(name.as_bytes());
        let sealed = self.codec.seal_json_with(&number, &options);
        sealed.map(Some).map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }
}

fn has_state(name: &str) -> bool {
    matches!(
        name.strip_prefix("test_input_required_result_"),
        Some("request_state" | "multiple_inputs" | "multi_round" | "tampered_state")
    )
}

fn rounds_of(
    name: &str,
    context: &RequestContext<RoleServer>,
) -> Result<Option<Vec<Round>>, ErrorData> {
    if name == "test_streaming_elicitation" {
        return Ok(Some(vec![vec![("confirm", confirm()?)]]));
    }
    let Some(case) = name.strip_prefix("test_input_required_result_") else { return Ok(None) };
    let rounds = match case {
        "elicitation" => {
            vec![vec![("user_name", ask_text("What is your name?", "name")?)]]
        }
        "sampling" => {
            vec![vec![("capital_question", sample("What is the capital of France?", 100))]]
        }
        "list_roots" => vec![vec![("client_roots", roots())]],
        "request_state" | "tampered_state" => vec![vec![("confirm", confirm()?)]],
        "multiple_inputs" => vec![vec![
            ("user_name", ask_text("What is your name?", "name")?),
            ("greeting", sample("Generate a greeting", 50)),
            ("client_roots", roots()),
        ]],
        "multi_round" => vec![
            vec![("step1", ask_text("Step 1: What is your name?", "name")?)],
            vec![("step2", ask_text("Step 2: What is your favorite color?", "color")?)],
        ],
        "capabilities" => vec![what_the_client_can_answer(context)?],
        "prompt" => {
            vec![vec![(
                "user_context",
                ask_text("What context should the prompt use?", "context")?,
            )]]
        }
        _ => return Ok(None),
    };
    Ok(Some(rounds))
}

fn what_the_client_can_answer(context: &RequestContext<RoleServer>) -> Result<Round, ErrorData> {
    let mut round = Round::new();
    if has(context, |capabilities| capabilities.elicitation.is_some()) {
        round.push(("user_name", ask_text("What is your name?", "name")?));
    }
    if has(context, |capabilities| capabilities.sampling.is_some()) {
        round.push(("greeting", sample("Generate a greeting", 50)));
    }
    if round.is_empty() {
        let required = ClientCapabilities::builder().enable_sampling().build();
        return Err(ErrorData::missing_required_client_capability(required));
    }
    Ok(round)
}

fn require_capabilities(
    round: &Round,
    context: &RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    for (_, request) in round {
        let (present, required) = match request {
            InputRequest::Elicitation(_) => (
                has(context, |capabilities| capabilities.elicitation.is_some()),
                ClientCapabilities::builder().enable_elicitation().build(),
            ),
            InputRequest::CreateMessage(_) => (
                has(context, |capabilities| capabilities.sampling.is_some()),
                ClientCapabilities::builder().enable_sampling().build(),
            ),
            _ => (
                has(context, |capabilities| capabilities.roots.is_some()),
                ClientCapabilities::builder().enable_roots().build(),
            ),
        };
        if !present {
            return Err(ErrorData::missing_required_client_capability(required));
        }
    }
    Ok(())
}

/// Whether every question of the round has an answer. An answer of the wrong form is an error; unknown keys are not.
fn all_answered(round: &Round, responses: &InputResponses) -> Result<bool, ErrorData> {
    for (key, request) in round {
        let Some(response) = responses.get(*key) else { return Ok(false) };
        let formed = match request {
            InputRequest::Elicitation(_) => response.get("action").is_some_and(Value::is_string),
            InputRequest::CreateMessage(_) => response.get("content").is_some(),
            _ => response.get("roots").is_some_and(Value::is_array),
        };
        if !formed {
            let message = format!("inputResponses.{key} is not the answer to what was asked");
            return Err(ErrorData::invalid_params(message, None));
        }
    }
    Ok(true)
}

fn conclusion(name: &str, responses: &InputResponses) -> String {
    let known = |key: &str| responses.get(key);
    let text_at = |key: &str, pointer| {
        known(key).and_then(|answer| answer.pointer(pointer)).and_then(Value::as_str)
    };
    match name.strip_prefix("test_input_required_result_") {
        Some("elicitation") => {
            format!("Hello, {}!", text_at("user_name", "/content/name").unwrap_or("stranger"))
        }
        Some("sampling") => {
            text_at("capital_question", "/content/text").unwrap_or_default().to_owned()
        }
        Some("list_roots") => {
            let roots = known("client_roots").and_then(|answer| answer.get("roots"));
            format!("The client's roots: {}", roots.unwrap_or(&Value::Null))
        }
        Some("request_state" | "tampered_state") => "state-ok".to_owned(),
        _ => format!("Everything was answered: {}", json!(responses)),
    }
}

fn ask_text(message: &str, field: &str) -> Result<InputRequest, ErrorData> {
    ask(
        message,
        json!({
            "type": "object", "properties": { field: { "type": "string" } }, "required": [field],
        }),
    )
}

fn confirm() -> Result<InputRequest, ErrorData> {
    ask(
        "Please confirm",
        json!({
            "type": "object", "properties": { "ok": { "type": "boolean" } }, "required": ["ok"],
        }),
    )
}

fn ask(message: &str, schema: Value) -> Result<InputRequest, ErrorData> {
    Ok(InputRequest::Elicitation(ElicitRequest::new(form(message, schema)?)))
}

fn sample(question: &str, tokens_max: u32) -> InputRequest {
    let messages = vec![SamplingMessage::user_text(question)];
    let params = CreateMessageRequestParams::new(messages, tokens_max);
    InputRequest::CreateMessage(CreateMessageRequest::new(params))
}

fn roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}
