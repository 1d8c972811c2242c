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
fn a_member_that_is_not_of_the_envelope_is_refused_and_named() {
    let cases = [
        (r#"{ "x-trace" : [1, 2 ], "jsonrpc":"2.0","id":"a","method":"ping" }"#, "x-trace"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, "params"),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized","meta":1}"#, "meta"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Param\u0073":{}}"#, "Params"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Param\u017f":{}}"#, "Paramſ"),
    ];
    for (text, name) in cases {
        for sender in [Sender::Client, Sender::Server] {
            let refusal = read(text, sender).unwrap_err();
            assert_eq!((refusal.code(), refusal.status()), (-32600, 400), "{text}");
            assert!(refusal.to_string().contains(&format!("`{name}`")), "{refusal}");
        }
    }
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","more":1}}"#;
    assert!(read(error, Sender::Client).is_err());
    assert!(read(error, Sender::Server).is_ok());
}

#[test]
fn what_goes_on_is_the_original_bytes() {
    let text = r#"{ "method" : "ping", "jsonrpc":"2.0","id":"a" }"#;
    assert_eq!(request(text).bytes(), text.as_bytes());
}

#[test]
fn two_names_that_differ_only_in_case_are_refused_from_an_agent_at_any_depth() {
    let pairs = [
        ("path", "Path"),
        ("path", "PATH"),
        ("class", "cla\u{17f}s"),
        ("key", "\u{212a}ey"),
        ("stra\u{df}e", "STRA\u{1e9e}E"),
        ("\u{3b8}", "\u{3f4}"),
    ];
    for (one, other) in pairs {
        for holder in [r#"{"name":"t",@}"#, r#"{"arguments":{@}}"#, r#"{"arguments":{"a":[{@}]}}"#]
        {
            let holder = holder.replace('@', &format!(r#""{one}":1,"{other}":2"#));
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{holder}}}"#);
            let refusal = read(&text, Sender::Client).unwrap_err();
            assert!(refusal.to_string().contains("differ only in case"), "{text}: {refusal}");
        }
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"{one}":1,"{other}":2}}}}"#);
        assert!(read(&text, Sender::Server).is_ok(), "a server's result keeps its names");
    }
}

#[test]
fn a_name_that_a_json_reader_reserves_is_refused_at_any_depth_from_anyone() {
    for name in ["RawValue", "Number", "x"] {
        let name = format!("$serde_json::private::{name}");
        for holder in [r#"{@}"#, r#"{"arguments":{@}}"#, r#"{"arguments":{"a":[{@}]}}"#] {
            let holder = holder.replace('@', &format!(r#""{name}":"{{}}""#));
            let asked =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{holder}}}"#);
            assert!(read(&asked, Sender::Client).is_err(), "{asked}");
            let said = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{holder}}}"#);
            assert!(read(&said, Sender::Server).is_err(), "{said}");
        }
    }
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

#[test]
fn a_parameter_that_only_looks_like_a_known_one_is_refused() {
    let cases = [
        ("tools/call", json!({ "name": "t", "Arguments": {} })),
        ("tools/call", json!({ "Name": "t" })),
        ("resources/read", json!({ "URI": "desk://a" })),
        ("prompts/get", json!({ "name": "p", "argument\u{17f}": {} })),
        ("logging/setLevel", json!({ "level": "info", "more": 1 })),
        ("logging/setLevel", json!({ "Level": "info" })),
        (
            "completion/complete",
            json!({
                "ref": { "type": "ref/prompt", "name": "p", "more": 1 },
                "argument": { "name": "a", "value": "" },
            }),
        ),
        (
            "completion/complete",
            json!({
                "ref": { "type": "ref/prompt", "name": "p" },
                "argument": { "name": "a", "value": "", "more": 1 },
            }),
        ),
    ];
    for (method, params) in cases {
        let refusal = decided(Revision::V2025_06_18, Sender::Client, method, params.clone());
        assert!(refusal.is_err(), "{method} {params}");
    }
}
