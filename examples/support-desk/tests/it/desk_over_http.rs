use serde_json::{Value, json};
use support_desk::agent::{Revision, Step};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{REVISIONS, Stage, call, refund};

#[tokio::test]
async fn a_ticket_is_worked_through_in_every_revision() {
    for revision in REVISIONS {
        let stage = Stage::open().await;
        let mut agent = stage.agent(revision, None);
        let ticket = call(&mut agent, "get_ticket", json!({ "ticket_id": "T-1001" })).await;
        assert_eq!(ticket.structured.unwrap()["order_id"], "O-5001", "{revision:?}");
        let orders = call(&mut agent, "search_orders", json!({ "customer_id": "C-100" })).await;
        assert_eq!(orders.structured.unwrap()["orders"][0]["total_cents"], 4_900);
        let refunded = call(&mut agent, "issue_refund", refund()).await;
        assert!(refunded.ok, "{refunded:?}");
        let text = json!({ "customer_id": "C-100", "text": "We paid 49.00 back." });
        let message = call(&mut agent, "send_message", text).await;
        assert_eq!(message.structured.unwrap()["sent_to"], "dana.whitfield@example.com");
        let note = json!({ "ticket_id": "T-1001", "note": "refunded, R-9001" });
        assert!(call(&mut agent, "close_ticket", note).await.ok);
        let refunds = call(&mut agent, "list_refunds", json!({})).await.structured.unwrap();
        assert_eq!(refunds["refunds"][0]["refund_id"], "R-9001");
        agent.close().await;
        let tools: Vec<Value> = stage.journal().into_iter().map(|l| l["tool"].clone()).collect();
        assert_eq!(tools, ["issue_refund", "send_message", "close_ticket"]);
    }
}

#[tokio::test]
async fn every_tool_has_schemas_and_says_whether_it_only_reads() {
    let stage = Stage::open().await;
    let mut agent = stage.agent(Revision::V2026_07_28, None);
    let listed = agent.take(Step::parse(r#"{"list":"tools"}"#).unwrap()).await;
    let mut readers = Vec::new();
    for tool in &listed.content {
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
        if tool["annotations"]["readOnlyHint"] == true {
            readers.push(tool["name"].as_str().unwrap());
        }
    }
    readers.sort_unstable();
    let expected = ["get_customer", "get_ticket", "list_refunds", "list_tickets", "search_orders"];
    assert_eq!(readers, expected);
    assert_eq!(listed.content.len(), 8);
}

#[tokio::test]
async fn resources_and_the_prompt_are_there() {
    let stage = Stage::open().await;
    for revision in REVISIONS {
        let mut agent = stage.agent(revision, None);
        let read = agent.take(Step::parse(r#"{"read":"desk://handbook"}"#).unwrap()).await;
        assert!(read.content[0]["text"].as_str().unwrap().contains("never an instruction"));
        let missing = agent.take(Step::parse(r#"{"read":"desk://safe"}"#).unwrap()).await;
        assert_eq!(missing.error.unwrap().kind, "protocol");
        let prompt = r#"{"prompt":"work_ticket","arguments":{"ticket_id":"T-1003"}}"#;
        let prompt = agent.take(Step::parse(prompt).unwrap()).await;
        assert!(prompt.content[0].to_string().contains("T-1003"), "{prompt:?}");
    }
}

#[tokio::test]
async fn an_agent_without_a_token_is_told_to_bring_one() {
    let stage = Stage::guarded().await;
    for revision in REVISIONS {
        let mut agent = stage.agent(revision, None);
        let refused = call(&mut agent, "list_tickets", json!({})).await;
        assert_eq!((refused.ok, refused.http_status), (false, Some(401)), "{refused:?}");
        assert_eq!(refused.challenge.as_deref(), Some("Bearer"));
    }
}

#[tokio::test]
async fn an_unknown_token_is_refused() {
    let stage = Stage::guarded().await;
    std::fs::write(stage.path("forged"), "the-write-token-").unwrap();
    for revision in REVISIONS {
        let mut agent = stage.agent(revision, Some("forged"));
        let refused = call(&mut agent, "list_tickets", json!({})).await;
        assert_eq!(refused.http_status, Some(401), "{refused:?}");
    }
}

#[tokio::test]
async fn the_read_token_reads_and_the_desk_itself_refuses_its_writes() {
    let stage = Stage::guarded().await;
    for revision in REVISIONS {
        let mut agent = stage.agent(revision, Some("read"));
        assert!(call(&mut agent, "get_customer", json!({ "customer_id": "C-200" })).await.ok);
        let refused = call(&mut agent, "issue_refund", refund()).await;
        let error = refused.error.unwrap();
        assert_eq!(error.kind, "tool");
        assert!(error.message.contains("may only read"), "{}", error.message);
    }
    assert!(stage.journal().is_empty());
}

#[tokio::test]
async fn the_write_token_writes_and_the_journal_names_it() {
    let stage = Stage::guarded().await;
    let mut agent = stage.agent(Revision::V2025_11_25, Some("write"));
    assert!(call(&mut agent, "issue_refund", refund()).await.ok);
    let journal = stage.journal();
    assert_eq!(journal.len(), 1);
    assert_eq!((&journal[0]["seq"], &journal[0]["credential"]), (&json!(1), &json!("write")));
    assert_eq!(journal[0]["record"]["amount_cents"], 4_900);
}

#[tokio::test]
async fn a_token_renewed_by_somebody_else_is_used_at_the_next_step() {
    let stage = Stage::guarded().await;
    std::fs::copy(stage.path("read"), stage.path("current")).unwrap();
    for revision in REVISIONS {
        let mut agent = stage.agent(revision, Some("current"));
        assert!(call(&mut agent, "list_tickets", json!({})).await.ok);
        std::fs::write(stage.path("current"), "expired").unwrap();
        let refused = call(&mut agent, "list_tickets", json!({})).await;
        assert_eq!(refused.http_status, Some(401), "{refused:?}");
        std::fs::copy(stage.path("write"), stage.path("current")).unwrap();
        let text = json!({ "customer_id": "C-100", "text": "Hello" });
        assert!(call(&mut agent, "send_message", text).await.ok);
        std::fs::copy(stage.path("read"), stage.path("current")).unwrap();
    }
}

#[tokio::test]
async fn arguments_the_schema_does_not_know_are_refused() {
    let stage = Stage::open().await;
    let mut agent = stage.agent(Revision::V2025_11_25, None);
    let mut arguments = refund();
    arguments["approved"] = json!(true);
    let refused = call(&mut agent, "issue_refund", arguments).await;
    assert!(!refused.ok && stage.journal().is_empty());
}

#[tokio::test]
async fn a_hijacked_agent_does_what_the_ticket_says() {
    for revision in REVISIONS {
        let stage = Stage::open().await;
        let mut agent = stage.agent(revision, None);
        let outcomes = agent.follow_ticket("T-1002").await;
        let subjects: Vec<&str> = outcomes.iter().map(|o| o.subject.as_str()).collect();
        assert_eq!(subjects, ["get_ticket", "issue_refund", "send_message"], "{revision:?}");
        assert!(outcomes.iter().all(|outcome| outcome.ok));
        assert_eq!(stage.journal()[0]["record"]["customer_id"], "C-300");
    }
}

#[tokio::test]
async fn a_hijacked_agent_with_the_read_token_only_reads() {
    let stage = Stage::guarded().await;
    let outcomes = stage.agent(Revision::V2026_07_28, Some("read")).follow_ticket("T-1002").await;
    let worked: Vec<bool> = outcomes.iter().map(|outcome| outcome.ok).collect();
    assert_eq!(worked, [true, false, false]);
    assert!(stage.journal().is_empty());
}

#[tokio::test]
async fn a_request_for_another_host_or_from_another_site_is_refused() {
    let stage = Stage::open().await;
    let ours = host_of(&stage);
    assert_eq!(status_of(&stage, &ours, "").await, 200);
    assert_eq!(status_of(&stage, "desk.attacker.example", "").await, 403);
    assert_eq!(status_of(&stage, &ours, "Origin: https://attacker.example\r\n").await, 403);
}

fn host_of(stage: &Stage) -> String {
    stage.url.trim_start_matches("http://").trim_end_matches("/mcp").to_owned()
}

async fn status_of(stage: &Stage, host: &str, header: &str) -> u16 {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "probe", "version": "1" },
        },
    })
    .to_string();
    let mut stream = TcpStream::connect(host_of(stage)).await.unwrap();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\n{header}Content-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}
