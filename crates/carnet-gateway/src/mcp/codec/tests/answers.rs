//! Our own answers.

use carnet_core::{ApprovalId, DecisionId, Reason};
use serde_json::json;

use super::value;
use crate::mcp::codec::{
    Ask, Capabilities, DENIED_CODE, Denial, Id, PENDING_CODE, Refusal, Revision, asked, denied,
    refused,
};

fn denial(revision: Revision, method: &str, has_output_schema: bool) -> serde_json::Value {
    let decision = DecisionId::from_bits(7);
    let denial = Denial::of(Reason::NotCovered, &decision);
    let answer = denied(revision, method, has_output_schema, &Id::Number(3), &denial);
    assert_eq!(answer.status, 200);
    value(&answer.body)
}

fn ask(
    revision: Revision,
    method: &str,
    capabilities: Capabilities,
    url: Option<&str>,
) -> serde_json::Value {
    let (decision, approval) = (DecisionId::from_bits(7), ApprovalId::from_bits(9));
    let ask = Ask {
        reason: "approval_needed",
        decision: &decision,
        approval: &approval,
        retry_after_s: 5,
        state: "sealed",
        url,
        capabilities,
    };
    value(&asked(revision, method, false, &Id::Text("a".into()), &ask).body)
}

const FORM: Capabilities =
    Capabilities { elicits_form: true, elicits_url: false, samples: false, lists_roots: false };
const URL: Capabilities = Capabilities { elicits_url: true, ..FORM };

#[test]
fn a_denied_tool_is_a_result_a_model_can_read() {
    let body = denial(Revision::V2025_11_25, "tools/call", false);
    assert_eq!(body["id"], 3);
    assert_eq!(body["result"]["isError"], true);
    assert_eq!(body["result"]["structuredContent"]["reason"], "not_covered");
    assert!(body["result"].get("resultType").is_none());
    let body = denial(Revision::V2026_07_28, "tools/call", false);
    assert_eq!(body["result"]["resultType"], "complete");
}

#[test]
fn a_denial_is_not_held_against_the_tools_output_schema() {
    let body = denial(Revision::V2025_11_25, "tools/call", true);
    assert!(body["result"].get("structuredContent").is_none());
    assert_eq!(body["result"]["_meta"]["carnet/decision"]["reason"], "not_covered");
}

#[test]
fn any_other_denied_method_is_an_error_outside_the_reserved_range() {
    let body = denial(Revision::V2026_07_28, "resources/read", false);
    assert_eq!(body["error"]["code"], DENIED_CODE);
    assert_eq!(body["error"]["data"]["reason"], "not_covered");
    for code in [DENIED_CODE, PENDING_CODE] {
        assert!(!(-32768..=-32000).contains(&code));
    }
}

#[test]
fn a_client_that_can_be_asked_is_asked_to_wait() {
    for method in ["tools/call", "resources/read", "prompts/get"] {
        let result =
            &ask(Revision::V2026_07_28, method, FORM, Some("https://c.example/a"))["result"];
        assert_eq!(result["resultType"], "input_required");
        assert_eq!(result["requestState"], "sealed");
        let question = &result["inputRequests"]["carnet_approval"];
        assert_eq!(question["method"], "elicitation/create");
        assert_eq!(question["params"]["mode"], "form");
    }
    let result =
        &ask(Revision::V2026_07_28, "tools/call", URL, Some("https://c.example/a"))["result"];
    let params = &result["inputRequests"]["carnet_approval"]["params"];
    assert_eq!(params["mode"], "url");
    assert_eq!(params["url"], "https://c.example/a");
}

#[test]
fn a_client_that_cannot_be_asked_is_told_when_to_come_back() {
    for (revision, capabilities) in [
        (Revision::V2025_06_18, FORM),
        (Revision::V2025_11_25, URL),
        (Revision::V2026_07_28, Capabilities::default()),
    ] {
        let body = ask(revision, "tools/call", capabilities, None);
        assert_eq!(body["result"]["isError"], true, "{revision}");
        let facts = &body["result"]["structuredContent"];
        assert_eq!(facts["retry_after_s"], 5);
        assert_eq!(facts["approval"], json!(ApprovalId::from_bits(9)));
        assert!(!body.to_string().contains("sealed"));
    }
    let body = ask(Revision::V2025_11_25, "resources/read", FORM, None);
    assert_eq!(body["error"]["code"], PENDING_CODE);
    // Where no result may ask, none does.
    let body = ask(Revision::V2026_07_28, "completion/complete", FORM, None);
    assert_eq!(body["error"]["code"], PENDING_CODE);
}

#[test]
fn an_unsupported_version_is_told_which_are() {
    let refusal = Refusal::Version { requested: "1900-01-01".into() };
    let answer = refused(&refusal, Some(&Id::Number(1)));
    assert_eq!(answer.status, 400);
    let body = value(&answer.body);
    assert_eq!(body["error"]["code"], -32022);
    let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18"]);
    assert_eq!(body["error"]["data"]["supported"], supported);
    assert_eq!(body["error"]["data"]["requested"], "1900-01-01");
    assert!(value(&refused(&refusal, None).body).get("id").is_none());
}
