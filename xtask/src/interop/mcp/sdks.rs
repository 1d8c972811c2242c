//! The official SDKs' clients: by address with a bearer token, through the stdio bridge, and with
//! client credentials.

use anyhow::ensure;
use serde_json::{Value, json};

use super::drive::{Driven, Sdk, list, step};
use super::lab::{FIXTURE, Lab};
use crate::interop::cases::Cases;

/// The revision with a handshake that both generations of clients begin with.
const SESSIONS: &str = "2025-11-25";
/// The revision without sessions.
const STATELESS: &str = "2026-07-28";

/// What the task allows: one tool, one prompt and one document of many.
const ALLOWED: [(&str, &str, &str); 3] = [
    ("fixture.tool.test_simple_text", "read", ""),
    ("fixture.prompt.test_simple_prompt", "read", ""),
    ("fixture.resource.read", "read", "where.uri = { equals = \"test://static-text\" }"),
];

/// Runs the cases of every SDK.
pub(super) fn run(lab: &Lab<'_>, cases: &mut Cases) -> anyhow::Result<()> {
    lab.review_all_as_reads(FIXTURE)?;
    let task = lab.task(&ALLOWED)?;
    for sdk in Sdk::ALL {
        let revisions = [None, Some(STATELESS)];
        for revision in revisions.into_iter().filter(|it| it.is_none() || sdk.is_modern()) {
            let spoken = revision.unwrap_or(SESSIONS);
            let name = |way: &str| format!("{}, {spoken}, {way}", sdk.name());
            cases.case(&name("by address with a bearer token"), || {
                let token_file = lab.token_file(&task, FIXTURE)?;
                let url = lab.carnet.address(FIXTURE);
                let plan = json!({ "url": url, "token_file": token_file });
                look(lab, sdk, revision, plan)
            });
            cases.case(&name("through `carnet connect`"), || {
                let words = lab.carnet.words(&["connect", FIXTURE, "--task", &task]);
                look(lab, sdk, revision, json!({ "stdio": words }))
            });
        }
    }
    for sdk in [Sdk::TypeScript, Sdk::OldTypeScript] {
        let name = format!("{}, client credentials with a JWT-SVID", sdk.name());
        cases.case(&name, || {
            let workload = lab.carnet.workload_socket();
            let issuer = lab.carnet.issuer();
            let credentials = json!({ "workload": workload, "issuer": issuer, "task": task });
            let plan = json!({ "url": lab.carnet.address(FIXTURE), "credentials": credentials });
            look(lab, sdk, None, plan)
        });
    }
    Ok(())
}

/// A client finds what the task allows and nothing else, may do that and nothing else.
fn look(lab: &Lab<'_>, sdk: Sdk, revision: Option<&str>, mut plan: Value) -> anyhow::Result<()> {
    let steps = [
        list("tools"),
        step("tool", "test_simple_text", json!({})),
        step("tool", "test_image_content", json!({})),
        list("prompts"),
        step("prompt", "test_simple_prompt", Value::Null),
        step("resource", "test://static-text", Value::Null),
        step("resource", "test://static-binary", Value::Null),
    ];
    plan["mode"] = sdk.mode(revision);
    if plan["mode"].is_null() {
        plan.as_object_mut().map(|plan| plan.remove("mode"));
    }
    let driven = sdk.drive(lab.programs, plan, &steps)?;
    check(&driven, revision.unwrap_or(SESSIONS))
}

fn check(driven: &Driven, revision: &str) -> anyhow::Result<()> {
    if let Some(protocol) = &driven.protocol {
        ensure!(protocol == revision, "{protocol} was agreed on instead of {revision}");
    }
    let tools = driven.names(0)?;
    ensure!(tools == ["test_simple_text"], "it saw other tools than its task's: {tools:?}");
    driven.permitted(1)?;
    driven.refused(2, "not_covered")?;
    let prompts = driven.names(3)?;
    ensure!(prompts == ["test_simple_prompt"], "it saw other prompts: {prompts:?}");
    driven.permitted(4)?;
    driven.permitted(5)?;
    driven.refused(6, "not_covered")
}
