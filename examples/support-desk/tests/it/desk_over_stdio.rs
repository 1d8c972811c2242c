use std::path::Path;

use serde_json::json;
use support_desk::agent::{Agent, Revision, Target};

use crate::stage::{PATIENCE, REVISIONS, call, refund};

const DESK: &str = env!("CARGO_BIN_EXE_support-desk");

fn agent(revision: Revision, arguments: &[&str]) -> Agent {
    let arguments = arguments.iter().map(Into::into).collect();
    Agent::new(Target::Stdio { program: DESK.into(), arguments }, revision, PATIENCE)
}

#[tokio::test]
async fn a_refund_over_stdio_is_journalled_once() {
    for revision in REVISIONS {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.jsonl");
        let mut agent = agent(revision, &["--stdio", "--journal", journal.to_str().unwrap()]);
        let refunded = call(&mut agent, "issue_refund", refund()).await;
        assert!(refunded.ok, "{revision:?}: {refunded:?}");
        let again = call(&mut agent, "issue_refund", refund()).await;
        assert!(again.error.unwrap().message.contains("0 cents left"));
        agent.close().await;
        assert_eq!(std::fs::read_to_string(&journal).unwrap().lines().count(), 1);
    }
}

#[tokio::test]
async fn a_desk_that_demands_a_token_does_not_start_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let files = credential_files(folder.path());
    let mut agent = agent(Revision::V2025_11_25, &["--stdio", "--require-bearer-file", &files]);
    let refused = call(&mut agent, "list_tickets", json!({})).await;
    assert_eq!(refused.error.unwrap().kind, "transport");
}

#[tokio::test]
async fn a_child_with_the_read_token_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let files = credential_files(folder.path());
    let arguments = ["SUPPORT_DESK_TOKEN=r", DESK, "--stdio", "--require-bearer-file", &files];
    let arguments = arguments.iter().map(Into::into).collect();
    let target = Target::Stdio { program: "env".into(), arguments };
    let mut agent = Agent::new(target, Revision::V2025_11_25, PATIENCE);
    assert!(call(&mut agent, "list_tickets", json!({})).await.ok);
    let refused = call(&mut agent, "issue_refund", refund()).await;
    assert!(refused.error.unwrap().message.contains("may only read"));
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_an_error_not_a_panic() {
    let target = Target::Stdio { program: "/nowhere/desk".into(), arguments: Vec::new() };
    let mut agent = Agent::new(target, Revision::Auto, PATIENCE);
    let refused = call(&mut agent, "list_tickets", json!({})).await;
    assert_eq!(refused.error.unwrap().kind, "local");
}

fn credential_files(folder: &Path) -> String {
    let (read, write) = (folder.join("r"), folder.join("w"));
    std::fs::write(&read, "r").unwrap();
    std::fs::write(&write, "w").unwrap();
    format!("read={},write={}", read.display(), write.display())
}
