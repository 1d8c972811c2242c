//! What is answered to what may not be done, and what is forwarded of what may.

use std::sync::Arc;

use carnet_core::{Obligation, Path};
use serde_json::json;

use crate::agent::{MIDDLE, NEW};
use crate::control::Rules;
use crate::server::{Act, text};
use crate::world::{Plan, REFUND, TICKET, World, listing, set_rules};

#[tokio::test]
async fn what_the_task_does_not_cover_is_answered_like_what_does_not_exist() {
    let world = World::new().await;
    let mut answers = Vec::new();
    // Unreviewed; unknown; reviewed and out of reach, with good and with bad arguments.
    for (tool, arguments) in [
        ("brand_new", json!({})),
        ("no_such_tool", json!({})),
        ("read_payroll", json!({ "year": 2026 })),
        ("read_payroll", json!({ "year": "x" })),
    ] {
        let answer = world.agent.call(Path::Read, tool, arguments).send().await;
        assert_eq!(answer.reason().as_deref(), Some("not_covered"), "{tool}");
        answers.push((answer.status, answer.without_decision()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(world.server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn arguments_that_do_not_fit_the_review_are_refused_where_the_tool_is_known() {
    let world = World::new().await;
    let answer = world.agent.call(Path::Read, "get_ticket", json!({ "id": 7 })).send().await;
    assert_eq!(answer.reason().as_deref(), Some("arguments_invalid"));
    assert!(answer.said().contains("`/id` breaks the rule `type`"), "{}", answer.said());
    let leaves = world.leaves().await;
    assert!(leaves.iter().any(|leaf| leaf.get("action") == Some(&json!("desk.tool.get_ticket"))));
    assert!(world.server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn a_write_on_the_read_path_is_refused_with_the_other_address() {
    let world = World::new().await;
    let answer = world.agent.call(Path::Read, "issue_refund", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("wrong_path"));
    let facts = &answer.json()["result"]["_meta"]["carnet/decision"];
    assert_eq!(facts["address"], world.agent.address(Path::Write));
    assert!(answer.said().contains(&world.agent.address(Path::Write)), "{}", answer.said());
    assert!(world.server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn another_path_is_not_named_to_who_cannot_reach_the_tool_there() {
    let world = World::new().await;
    world.change_task(|view| view.grants.truncate(1)).await;
    let answer = world.agent.call(Path::Read, "issue_refund", json!({})).send().await;
    let unknown = world.agent.call(Path::Read, "no_such_tool", json!({})).send().await;
    assert_eq!(answer.without_decision(), unknown.without_decision());
}

#[tokio::test]
async fn a_forbidden_call_is_refused_and_recorded() {
    let rules = Rules { forbid: ["desk.tool.get_ticket".into()].into(), ..Rules::default() };
    let world = World::with(Plan { rules, ..Plan::default() }).await;
    let answer = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.reason().as_deref(), Some("policy_forbids"));
    let leaves = world.leaves().await;
    assert!(leaves.iter().any(|leaf| {
        leaf.get("decision") == Some(&json!("deny"))
            && leaf.get("action") == Some(&json!("desk.tool.get_ticket"))
    }));
    assert_eq!(world.server.seen_at_all(), 0);
}

#[tokio::test]
async fn a_changed_tool_cannot_be_called() {
    let world = World::new().await;
    let call = || world.agent.call(Path::Write, "issue_refund", json!({ "order": "O-1" }));
    assert_eq!(call().send().await.said(), "done");
    // The same but for one word that only a machine would notice; no announcement is made.
    let changed = REFUND.replace("\"order\"", "\"orden\"");
    world.server.offer(&listing(&[TICKET, &changed]));
    let answer = call().send().await;
    assert_eq!(answer.reason().as_deref(), Some("not_covered"));
    assert_eq!(world.server.seen("tools/call").len(), 1);
    world.server.offer(&listing(&[TICKET, REFUND]));
    assert_eq!(call().send().await.said(), "done");
}

#[tokio::test]
async fn a_tool_offered_twice_with_two_meanings_cannot_be_called() {
    let world = World::new().await;
    let twin = REFUND.replace("\"order\"", "\"orden\"");
    world.server.offer(&listing(&[REFUND, &twin]));
    let answer = world.agent.call(Path::Write, "issue_refund", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("upstream_failed"));
    assert!(world.server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn an_announced_change_is_looked_at_before_the_next_read() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let ticket = || session.call("get_ticket", json!({ "id": "T-1" }));
    assert_eq!(ticket().send().await.said(), "done");
    let changed = TICKET.replace("2.50", "2.51");
    world.server.offer(&listing(&[&changed]));
    world.server.on("tools/call", |seen| {
        let announced = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        let answer = seen.result(text("done"));
        crate::server::events([crate::server::event(announced), crate::server::event(&answer)])
    });
    let mut stream = ticket().stream().await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    assert!(stream.next().await.unwrap()["result"].is_object());
    assert_eq!(stream.next().await, None);
    assert_eq!(ticket().send().await.reason().as_deref(), Some("not_covered"));
    assert_eq!(world.server.seen("tools/call").len(), 2);
}

#[tokio::test]
async fn the_original_bytes_reach_the_upstream_unchanged() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let body = "{ \"params\":{ \"arguments\" : {\"id\":\"T-\\u0031\"},\n \"name\":\"get_ticket\",\
        \"_meta\":{\"progressToken\": \"\\u0061\"}},\t\"method\":\"tools/call\", \"id\":\"a b\",\
        \"jsonrpc\":\"2.0\"} ";
    let answer = session.draft("POST", body).send().await;
    assert_eq!(answer.said(), "done", "{}", answer.text());
    assert_eq!(world.server.seen("tools/call")[0].body, body);
}

#[tokio::test]
async fn the_answer_comes_back_as_the_server_wrote_it() {
    let world = World::new().await;
    const ANSWER: &str = r#"{ "jsonrpc":"2.0", "id":1, "result":{"content":[] , "x":[1.0] } }"#;
    world.server.on("tools/call", |_| Act::Json(ANSWER.into()));
    let answer = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.text(), ANSWER);
}

#[tokio::test]
async fn only_headers_that_were_verified_go_on() {
    let world = World::new().await;
    let draft = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    let draft = draft.header("x-forwarded-for", "10.0.0.1").header("cookie", "a=b");
    let draft = draft.header("mcp-param-region", "eu");
    assert_eq!(draft.send().await.said(), "done");
    let seen = world.server.seen("tools/call").remove(0);
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = ["accept", "content-length", "content-type", "host"];
    let mcp = ["mcp-method", "mcp-name", "mcp-protocol-version"];
    assert_eq!(names, [expected.as_slice(), &mcp].concat());
}

#[tokio::test]
async fn a_header_that_says_other_than_the_body_is_refused() {
    let world = World::new().await;
    let draft = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    let answer = draft.without("mcp-name").header("mcp-name", "issue_refund").send().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (400, &json!(-32020)));
    assert_eq!(world.server.seen_at_all(), 0);
}

#[tokio::test]
async fn a_missing_mirrored_header_does_not_betray_a_tool_out_of_reach() {
    let world = World::new().await;
    let definition = r#"{"name":"read_payroll","inputSchema":{"type":"object","properties":
        {"year":{"type":"string","x-mcp-header":"Year"}}}}"#;
    let revision = world.control.change(|view| {
        let resources = Arc::make_mut(&mut view.snapshot.resources);
        let desk = Arc::make_mut(resources.get_mut(&"desk".parse().unwrap()).unwrap());
        let action = "desk.tool.read_payroll".parse().unwrap();
        let payroll = desk.operations.get_mut(&action).unwrap();
        payroll.definition = serde_json::from_str(definition).unwrap();
        payroll.pin = carnet_gateway::mcp::codec::pin(&payroll.definition).unwrap();
    });
    world.control.effective(revision).await;
    let hidden = world.agent.call(Path::Read, "read_payroll", json!({ "year": "1" })).send().await;
    let unknown = world.agent.call(Path::Read, "no_such_tool", json!({ "year": "1" })).send().await;
    assert_eq!(hidden.status, unknown.status);
    assert_eq!(hidden.without_decision(), unknown.without_decision());
    // Where it is within reach the header is demanded.
    world
        .change_task(|view| {
            let allowance = json!({ "action": "desk.tool.read_payroll", "path": "read" });
            view.grants.push(crate::world::grant(9, &allowance));
        })
        .await;
    let known = world.agent.call(Path::Read, "read_payroll", json!({ "year": "1" })).send().await;
    assert_eq!(known.json()["error"]["code"], -32020);
}

#[tokio::test]
async fn an_obligation_is_met_or_nothing_is_forwarded() {
    let redact = Obligation { kind: "redact".into(), value: "email".into() };
    let rules = Rules { obligations: vec![redact], ..Rules::default() };
    let world = World::with(Plan { rules, ..Plan::default() }).await;
    world.server.on("tools/call", |seen| {
        Act::Json(seen.result(json!({ "structuredContent": { "email": "a@b.c" }, "content": [] })))
    });
    let ticket = || world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    let answer = ticket().send().await;
    assert_eq!(answer.json()["result"]["structuredContent"]["email"], "[redacted]");
    let unknown = Obligation { kind: "notify".into(), value: "team:a".into() };
    world.control.change(|view| {
        set_rules(view, Rules { obligations: vec![unknown], ..Rules::default() });
    });
    assert_eq!(ticket().send().await.reason().as_deref(), Some("obligation_unknown"));
    assert_eq!(world.server.seen("tools/call").len(), 1);
}

#[tokio::test]
async fn a_result_over_its_bound_is_withheld_and_recorded_as_that() {
    let bound = Obligation { kind: "result_bytes_max".into(), value: "20".into() };
    let rules = Rules { obligations: vec![bound], ..Rules::default() };
    let world = World::with(Plan { rules, ..Plan::default() }).await;
    let answer = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.reason().as_deref(), Some("answer_withheld"));
    assert_eq!(world.outcomes().await, ["withheld"]);
}

#[tokio::test]
async fn messages_that_are_no_messages_are_refused() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let seen = world.server.seen_at_all();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_ticket"}}"#;
    let cases = [
        (format!("[{call}]"), 400, -32600),
        ("{".into(), 400, -32700),
        (call.replace("\"id\":1", "\"id\":1,\"id\":2"), 400, -32700),
        (call.replace("\"id\":1", "\"id\":\"carnet:1\""), 400, -32600),
        (call.replace("\"get_ticket\"", "[\"get_ticket\"]"), 200, -32602),
        (call.replace("tools/call", "tasks/list"), 200, -32601),
        (call.replace("tools/call", "no/such"), 200, -32601),
    ];
    for (body, status, code) in cases {
        let answer = session.draft("POST", body.clone()).send().await;
        let json = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &json["error"]["code"]),
            (status, &json!(code)),
            "{body}"
        );
    }
    let large = format!("{call}{}", " ".repeat(2 << 20));
    assert_eq!(session.draft("POST", large).send().await.status, 413);
    let form = session.draft("POST", call).without("content-type");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(form.send().await.status, 415);
    assert_eq!(world.server.seen_at_all(), seen);
}

#[tokio::test]
async fn an_unknown_method_has_the_status_of_its_revision() {
    let world = World::new().await;
    let answer = world.agent.stateless(Path::Read, "no/such", json!({})).send().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (404, &json!(-32601)));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta":
        { "io.modelcontextprotocol/protocolVersion": "2031-01-01" } } });
    let future = world.agent.draft("POST", Path::Read, body.to_string());
    let answer = future.header("mcp-protocol-version", "2031-01-01").send().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (400, &json!(-32022)));
    let get = world.agent.draft("GET", Path::Read, "").header("mcp-protocol-version", NEW);
    assert_eq!(get.send().await.status, 405);
}
