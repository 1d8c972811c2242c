//! Commands against a stand-in for the operators' socket: what they send, and what they refuse to.

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::run::{carnet, initialised};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn instants() -> Value {
    json!({ "durable": true, "committed": 1_000_000, "effective": 1_000_200, "complete": 1_000_200 })
}

fn question(arguments: &Value) -> Value {
    json!({
        "id": "appr_1", "state": "asked",
        "task": { "id": "task_1", "agent": "support-agent", "purpose": "answer T-7",
                  "subject": { "user": "ana" }, "opened_by": { "user": "ana" } },
        "asked": { "one_use_of": "desk.tool.issue_refund", "resource": "desk", "path": "write",
                   "effect": { "reversible": false, "reach": "inside" }, "pin": DIGEST,
                   "draws_on": null },
        "from_agent": { "arguments": arguments },
        "digest": DIGEST,
        "terms": { "approvers": ["team:finance"], "threshold": 1, "timeout_s": 900 },
        "answers": [], "asked_at": 1_000_000, "expires": 901_000_000, "decision": "dec_1",
    })
}

fn offer(name: &str, path: &str, reach: &str) -> Value {
    let definition = json!({ "name": name, "description": "it does \u{202e}something" });
    json!({
        "action": format!("desk.tool.{name}"), "pin": DIGEST, "state": "new", "reviewed": null,
        "offered": { "kind": "tool", "name": name, "definition": definition,
                     "suggested_path": path,
                     "suggested_effect": { "reversible": true, "reach": reach },
                     "suggested_arguments": {}, "suspicions": [] },
    })
}

fn resource() -> Value {
    json!({
        "name": "desk", "environment": "development", "labels": [],
        "upstream": { "transport": { "http": { "url": "http://127.0.0.1:1/" } }, "credentials": {} },
        "operations": {},
    })
}

#[test]
fn an_agent_is_registered_as_it_was_typed() {
    let dir = initialised();
    let answers =
        vec![("PUT /v1/agents", 200, json!({ "spiffe_id": "spiffe://carnet.local/agent/a" }))];
    let desk = Desk::listen(&dir.path().join("c"), answers);
    let words = ["--config", "c", "agent", "add", "a", "--owner", "team:support", "--uid", "1001"];
    let ran = carnet(dir.path(), &words).ended(0);
    assert!(ran.out.contains("spiffe://carnet.local/agent/a"), "{ran:?}");
    let sent = desk.body("PUT /v1/agents");
    assert_eq!((&sent["owner"], &sent["selectors"]["uid"]), (&json!("team:support"), &json!(1001)));
    assert_eq!(sent["bearer_read"], false);
}

#[test]
fn a_resource_whose_paths_share_a_secret_is_labelled_and_no_secret_is_sent() {
    let dir = initialised();
    let answers = vec![("PUT /v1/resources", 200, json!({ "addresses": ["r", "w", "a"] }))];
    let desk = Desk::listen(&dir.path().join("c"), answers);
    let words = [
        "--config",
        "c",
        "resource",
        "add",
        "desk",
        "--url",
        "http://127.0.0.1:1/mcp",
        "--label",
        "task-read",
        "--read-credential",
        "env:DESK",
        "--write-credential",
        "env:DESK",
    ];
    carnet(dir.path(), &words).ended(0);
    let sent = desk.body("PUT /v1/resources");
    assert_eq!(sent["labels"], json!(["task-read", "unsplit"]));
    assert_eq!(sent["upstream"]["credentials"]["read"]["source"], json!({ "env": "DESK" }));
}

#[test]
fn a_child_process_is_registered_by_its_absolute_path() {
    let dir = initialised();
    let answers = vec![("PUT /v1/resources", 200, json!({ "addresses": ["r", "w", "a"] }))];
    let desk = Desk::listen(&dir.path().join("c"), answers);
    let words = [
        "--config",
        "c",
        "resource",
        "add",
        "files",
        "--stdio",
        "--run-as",
        "1002:100",
        "--read-credential",
        "env:R=TOKEN",
        "--",
        "sh",
        "-c",
        "true",
    ];
    carnet(dir.path(), &words).ended(0);
    let transport = &desk.body("PUT /v1/resources")["upstream"]["transport"]["stdio"];
    assert!(transport["command"].as_str().unwrap().starts_with('/'), "{transport}");
    assert_eq!(transport["args"], json!(["-c", "true"]));
    assert_eq!(transport["run_as"], json!({ "uid": 1002, "gid": 100 }));
}

fn reviewing() -> Vec<(&'static str, u16, Value)> {
    vec![
        ("GET /v1/resources/desk", 200, resource()),
        (
            "GET /v1/resources/desk/offers",
            200,
            json!([offer("get_ticket", "read", "inside"), offer("send", "write", "egress")]),
        ),
        ("POST /v1/resources/desk/review", 200, json!({ "reviewed": 1 })),
    ]
}

#[test]
fn a_review_without_a_decision_only_shows() {
    let dir = initialised();
    let desk = Desk::listen(&dir.path().join("c"), reviewing());
    let ran = carnet(dir.path(), &["--config", "c", "resource", "review", "desk"]).ended(0);
    assert!(ran.out.contains("tool/get_ticket") && ran.out.contains("decide with"), "{ran:?}");
    assert!(!ran.out.contains('\u{202e}') && ran.out.contains("\\u{202e}"), "{ran:?}");
    assert!(!desk.was_changed());
}

#[test]
fn nothing_of_a_review_is_sent_without_a_yes() {
    let dir = initialised();
    let desk = Desk::listen(&dir.path().join("c"), reviewing());
    let words = ["--config", "c", "resource", "review", "desk", "--read", "get_*"];
    let ran = carnet(dir.path(), &words).ended(1);
    assert!(ran.err.contains("--yes"), "{ran:?}");
    assert!(!desk.was_changed());
}

#[test]
fn a_review_sends_what_was_decided_and_nothing_else() {
    let dir = initialised();
    let desk = Desk::listen(&dir.path().join("c"), reviewing());
    let words = [
        "--config", "c", "--output", "json", "resource", "review", "desk", "--read", "get_*",
        "--yes",
    ];
    let ran = carnet(dir.path(), &words).ended(0);
    assert_eq!(ran.json()["sent"], true);
    let sent = desk.body("POST /v1/resources/desk/review");
    assert_eq!(sent.as_array().unwrap().len(), 1);
    assert_eq!(
        (&sent[0]["action"], &sent[0]["path"]),
        (&json!("desk.tool.get_ticket"), &json!("read"))
    );
    assert_eq!(sent[0]["pin"], DIGEST);
}

#[test]
fn a_task_is_opened_with_the_intent_of_the_file() {
    let dir = initialised();
    let answer =
        json!({ "task": "task_1", "deadline": 1_000_000, "grants": [], "instants": instants() });
    let desk = Desk::listen(&dir.path().join("c"), vec![("POST /v1/tasks", 200, answer)]);
    let words = [
        "--config",
        "c",
        "task",
        "open",
        "--agent",
        "support-agent",
        "--intent",
        "c/intents/example.toml",
    ];
    let ran = carnet(dir.path(), &words).ended(0);
    assert!(ran.out.contains("opened task_1"), "{ran:?}");
    let sent = desk.body("POST /v1/tasks");
    assert_eq!(sent["agent"], "support-agent");
    assert_eq!(sent["intent"]["allow"][1]["action"], "desk.tool.issue_refund");
    assert_eq!(sent["subject"], Value::Null);
}

#[test]
fn closing_tells_the_three_instants() {
    let dir = initialised();
    let answer = json!({ "task": "task_1", "instants": instants() });
    let desk =
        Desk::listen(&dir.path().join("c"), vec![("POST /v1/tasks/task_1/close", 200, answer)]);
    let words = ["--config", "c", "task", "close", "task_1", "--as", "revoked"];
    let ran = carnet(dir.path(), &words).ended(0);
    for word in ["committed", "effective", "complete"] {
        assert!(ran.out.contains(word), "{ran:?}");
    }
    assert_eq!(desk.body("POST /v1/tasks/task_1/close"), json!({ "closure": "revoked" }));
}

#[test]
fn what_does_not_exist_and_what_is_refused_have_their_own_codes() {
    let dir = initialised();
    let refused =
        json!({ "code": "not_permitted", "message": "ana may not look: no policy permits it" });
    let _desk = Desk::listen(&dir.path().join("c"), vec![("GET /v1/agents", 403, refused)]);
    carnet(dir.path(), &["--config", "c", "task", "show", "task_1"]).ended(3);
    let ran = carnet(dir.path(), &["--config", "c", "agent", "list"]).ended(1);
    assert_eq!(ran.err, "carnet: ana may not look: no policy permits it\n");
    let ran = carnet(dir.path(), &["--config", "c", "--output", "json", "agent", "list"]).ended(1);
    assert_eq!(ran.json()["error"]["code"], "not_permitted");
}

#[test]
fn approving_shows_the_question_and_says_yes() {
    let dir = initialised();
    let answers = vec![
        ("GET /v1/approvals/appr_1", 200, question(&json!({ "amount_cents": 4200 }))),
        (
            "POST /v1/approvals/appr_1/approve",
            200,
            json!({ "approval": "appr_1", "state": "approved", "instants": instants() }),
        ),
    ];
    let desk = Desk::listen(&dir.path().join("c"), answers);
    let ran =
        carnet(dir.path(), &["--config", "c", "approve", "appr_1", "--digest", DIGEST]).ended(0);
    assert!(ran.out.contains("amount_cents = 4200"), "{ran:?}");
    assert!(ran.out.contains("appr_1 is approved"), "{ran:?}");
    assert!(desk.was_changed());
}

#[test]
fn what_cannot_be_shown_whole_cannot_be_approved() {
    let dir = initialised();
    let long = question(&json!({ "body": "x".repeat(5_000) }));
    let answers = vec![
        ("GET /v1/approvals/appr_1", 200, long),
        ("POST /v1/approvals/appr_1/approve", 200, json!({})),
    ];
    let desk = Desk::listen(&dir.path().join("c"), answers);
    for words in [
        &["--config", "c", "approve", "appr_1"] as &[&str],
        &["--config", "c", "approve", "appr_1", "--digest", DIGEST],
        &["--config", "c", "--output", "json", "approve", "appr_1"],
    ] {
        let ran = carnet(dir.path(), words).ended(1);
        assert!(ran.err.contains("cannot be shown whole"), "{ran:?}");
    }
    assert!(!desk.was_changed());
}

#[test]
fn a_yes_to_another_question_is_not_said() {
    let dir = initialised();
    let answers = vec![
        ("GET /v1/approvals/appr_1", 200, question(&json!({}))),
        ("POST /v1/approvals/appr_1/approve", 200, json!({})),
    ];
    let desk = Desk::listen(&dir.path().join("c"), answers);
    let other = DIGEST.replace("e3b0", "0000");
    carnet(dir.path(), &["--config", "c", "approve", "appr_1", "--digest", &other]).ended(1);
    assert!(!desk.was_changed());
}

#[test]
fn every_printing_command_prints_one_document_for_programs() {
    let dir = initialised();
    let answers = vec![
        ("GET /v1/status", 200, json!({ "operator": "ana" })),
        ("GET /v1/agents", 200, json!([])),
        ("GET /v1/resources", 200, json!([])),
        ("GET /v1/tasks?all=false", 200, json!([])),
        ("GET /v1/approvals", 200, json!([question(&json!({}))])),
        ("GET /v1/grants", 200, json!([])),
        ("GET /v1/policy", 200, Value::Null),
        ("GET /v1/ledger/leaves?limit=20", 200, json!({ "size": 0, "leaves": [] })),
        ("POST /v1/ledger/checkpoint", 200, json!({ "size": 0, "key": "k" })),
        ("POST /v1/locks", 200, json!({ "lock": "lock_1", "instants": instants() })),
        ("DELETE /v1/locks/lock_1", 200, json!({ "lock": "lock_1", "instants": instants() })),
        ("POST /v1/policy/rollback", 200, json!({ "digest": DIGEST, "instants": instants() })),
        ("POST /v1/policy/activate", 200, json!({ "digest": DIGEST, "instants": instants() })),
    ];
    let _desk = Desk::listen(&dir.path().join("c"), answers);
    for words in [
        &["status"] as &[&str],
        &["agent", "list"],
        &["resource", "list"],
        &["task", "list"],
        &["approvals"],
        &["grant", "list"],
        &["policy", "show"],
        &["policy", "rollback"],
        &["policy", "activate", "c/policy"],
        &["ledger", "tail"],
        &["ledger", "checkpoint"],
        &["lock", "everything", "--reason", "drill"],
        &["unlock", "lock_1"],
    ] {
        let args: Vec<&str> =
            ["--config", "c", "--output", "json"].iter().chain(words).copied().collect();
        carnet(dir.path(), &args).ended(0).json();
        let text: Vec<&str> = ["--config", "c"].iter().chain(words).copied().collect();
        let ran = carnet(dir.path(), &text).ended(0);
        assert!(!ran.out.trim().is_empty(), "{words:?}");
        assert!(!ran.out.contains('\u{1b}'), "no colours without a terminal: {words:?}");
    }
}

#[test]
fn a_policy_set_that_is_wrong_is_not_sent() {
    let dir = initialised();
    let desk = Desk::listen(&dir.path().join("c"), vec![]);
    std::fs::write(dir.path().join("c/policy/permit/x.cedar"), "permit (").unwrap();
    let ran = carnet(dir.path(), &["--config", "c", "policy", "activate", "c/policy"]).ended(1);
    assert!(ran.out.contains("permit/x.cedar"), "{ran:?}");
    assert!(desk.asked().is_empty());
}
