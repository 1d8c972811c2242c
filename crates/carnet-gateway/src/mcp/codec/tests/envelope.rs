//! JSON-RPC messages and their parts.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{read, value};
use crate::mcp::codec::method::Shape;
use crate::mcp::codec::{
    Capabilities, Classified, Id, Message, Outcome, Refusal, Revision, Sender, classify,
};

fn request(text: &str) -> crate::mcp::codec::Request {
    match read(text, Sender::Client) {
        Ok(Message::Request(request)) => request,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_number_and_the_same_digits_as_text_are_two_ids() {
    let number = request(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).id;
    let text = request(r#"{"jsonrpc":"2.0","id":"1","method":"ping"}"#).id;
    assert_ne!(number, text);
    assert_eq!(Id::of(&json!("x".repeat(256))), Some(Id::Text("x".repeat(256))));
    assert_eq!(Id::of(&json!("x".repeat(257))), None);
    for value in [json!(null), json!(1.0), json!([1]), json!({}), json!(true)] {
        assert_eq!(Id::of(&value), None, "{value}");
    }
}

#[test]
fn only_a_servers_error_may_lack_an_id() {
    let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#;
    assert!(read(error, Sender::Client).is_err());
    let Ok(Message::Response(response)) = read(error, Sender::Server) else { panic!() };
    assert_eq!(response.id, None);
    assert!(matches!(response.outcome, Outcome::Failure(ref failure) if failure.code == -32700));
    assert!(read(r#"{"jsonrpc":"2.0","result":{}}"#, Sender::Server).is_err());
}

#[test]
fn members_nobody_knows_survive_in_the_original_bytes() {
    let text = r#"{ "x-trace" : [1, 2 ], "jsonrpc":"2.0","id":"a","method":"ping" }"#;
    assert_eq!(request(text).bytes(), text.as_bytes());
}

#[test]
fn a_retry_of_our_own_question_reaches_the_server_without_its_traces() {
    let cases = [
        (
            r#"{"params":{"name":"t", "inputResponses":{},"requestState":"s", "arguments":{"a" : 1}},"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            r#"{"params":{"name":"t", "arguments":{"a" : 1}},"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{ "requestState":"s,}" , "inputResponses":{} ,"name":"t"} }"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"} }"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"requestState":"s"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":{"requestState":1},"requestState":"s"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":{"requestState":1}}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
        ),
    ];
    for (before, after) in cases {
        assert_eq!(request(before).bytes_without_retry().unwrap(), after, "{before}");
    }
}

proptest! {
    #[test]
    fn taking_the_traces_away_leaves_every_other_parameter(
        order in Just(vec!["a", "inputResponses", "b", "requestState", "c"]).prop_shuffle(),
        kept in proptest::collection::vec(any::<bool>(), 5),
        gap in "[ \n]{0,2}",
    ) {
        let there: Vec<&str> = order.into_iter().zip(kept).filter(|(_, k)| *k).map(|(n, _)| n).collect();
        let members: Vec<String> =
            there.iter().map(|name| format!("{gap}\"{name}\"{gap}:{{\"v\":\"{name},\"}}{gap}")).collect();
        let params = members.join(",");
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{{params}}}}}"#);
        let left = value(&request(&text).bytes_without_retry().unwrap());
        let names: Vec<String> = left["params"].as_object().unwrap().keys().cloned().collect();
        let mut expected: Vec<&str> = there.into_iter().filter(|name| name.len() == 1).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        expected.sort_unstable();
        names.sort_unstable();
        prop_assert_eq!(names, expected);
    }
}

fn decided(
    revision: Revision,
    sender: Sender,
    method: &str,
    params: Value,
) -> Result<Classified, Refusal> {
    let shape = if sender == Sender::Client { Shape::Request } else { Shape::Input };
    let Value::Object(params) = params else { panic!() };
    classify(revision, sender, shape, method, &params)
}

#[test]
fn a_completion_shows_policy_what_is_completed() {
    let params = json!({
        "ref": { "type": "ref/prompt", "name": "greet" },
        "argument": { "name": "who", "value": "A" },
    });
    let Ok(Classified::Call(call)) =
        decided(Revision::V2025_06_18, Sender::Client, "completion/complete", params)
    else {
        panic!();
    };
    assert_eq!(call.item, "completion.complete");
    let arguments =
        json!({ "ref_type": "ref/prompt", "ref": "greet", "argument": "who", "value": "A" });
    assert_eq!(Value::Object(call.arguments), arguments);
    let crooked = json!({ "ref": { "type": "ref/tool", "name": "t" } });
    assert!(
        decided(Revision::V2025_06_18, Sender::Client, "completion/complete", crooked).is_err()
    );
}

#[test]
fn an_elicitation_always_says_its_mode() {
    let params = json!({ "message": "Who?", "requestedSchema": { "properties": { "name": {} } } });
    let Ok(Classified::Call(call)) =
        decided(Revision::V2026_07_28, Sender::Server, "elicitation/create", params)
    else {
        panic!();
    };
    assert_eq!(call.arguments["mode"], "form");
}

#[test]
fn capabilities_are_read_as_the_revisions_write_them() {
    let of = |value: Value| Capabilities::of(value.as_object().unwrap());
    assert_eq!(of(json!({})), Capabilities::default());
    let form = Capabilities { elicits_form: true, ..Capabilities::default() };
    assert_eq!(of(json!({ "elicitation": {} })), form);
    let url = Capabilities { elicits_url: true, ..Capabilities::default() };
    assert_eq!(of(json!({ "elicitation": { "url": {} } })), url);
}
