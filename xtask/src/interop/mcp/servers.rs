//! Other people's servers behind Carnet: over HTTP and as a child process, read and written.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::drive::{Driven, Sdk, list, step};
use super::lab::{EVERYTHING, EVERYTHING_STDIO, FILES, Lab, NOTE};
use crate::interop::cases::Cases;

/// How the demonstration server is reviewed: what only answers is read, the rest as is suggested.
const EVERYTHING_REVIEW: [&str; 14] = [
    "--accept-suggestions",
    "--read",
    "tool/echo",
    "--read",
    "tool/get-*",
    "--read",
    "prompt/*",
    "--read",
    "resource/read",
    "--inside",
    "tool/echo",
    "--inside",
    "tool/get-*",
    "--inside",
];

/// Runs the cases of every server.
pub(super) fn run(lab: &Lab<'_>, cases: &mut Cases) -> anyhow::Result<()> {
    for (resource, how) in [(EVERYTHING, "over HTTP"), (EVERYTHING_STDIO, "as a child process")] {
        cases.case(&format!("server-everything {how}"), || everything(lab, resource));
    }
    cases.case("server-filesystem is reviewed as it suggests", || review_files(lab));
    cases.case("server-filesystem, read path", || read_files(lab));
    cases.case("server-filesystem, write path, by what the task binds", || write_files(lab));
    Ok(())
}

fn everything(lab: &Lab<'_>, resource: &str) -> anyhow::Result<()> {
    let inside = ["prompt/*", "--inside", "resource/read", "--effect", "reversible"];
    lab.review(resource, &[&EVERYTHING_REVIEW[..], &inside[..]].concat())?;
    let action = |item: &str| format!("{resource}.{item}");
    let allowed = ["tool.echo", "tool.get-sum", "tool.get-structured-content", "resource.read"];
    let allowed = allowed.map(action);
    let prompt = action("prompt.*");
    let mut allowances: Vec<_> = allowed.iter().map(|it| (it.as_str(), "read", "")).collect();
    allowances.push((&prompt, "read", ""));
    let task = lab.task(&allowances)?;
    let document = "demo://resource/static/document/architecture.md";
    let steps = [
        list("tools"),
        step("tool", "echo", json!({ "message": "hello" })),
        step("tool", "get-sum", json!({ "a": 19, "b": 23 })),
        step("tool", "get-structured-content", json!({ "location": "New York" })),
        step("tool", "get-env", json!({})),
        step("prompt", "simple-prompt", Value::Null),
        step("resource", document, Value::Null),
    ];
    let driven = by_address(lab, resource, &task, &steps)?;
    let tools = driven.names(0)?;
    ensure!(tools.len() == 3, "it saw other tools than its task's: {tools:?}");
    ensure!(driven.permitted(1)?.contains("Echo: hello"), "echo did not echo");
    ensure!(driven.permitted(2)?.contains("42"), "the sum is wrong");
    ensure!(driven.permitted(3)?.contains("structuredContent"), "it has no structured content");
    driven.refused(4, "not_covered")?;
    driven.permitted(5)?;
    driven.permitted(6).map(drop)
}

/// What reads is suggested for the read path and what writes for another; nothing is on none.
fn review_files(lab: &Lab<'_>) -> anyhow::Result<()> {
    lab.review(FILES, &["--accept-suggestions"])?;
    let shown = lab.carnet.operate(&["resource", "show", FILES])?;
    let operations = shown.pointer("/operations").and_then(Value::as_object);
    let operations = operations.with_context(|| format!("no operations: {shown}"))?;
    for (action, path) in [
        ("files.tool.read_text_file", "read"),
        ("files.tool.list_directory", "read"),
        ("files.tool.write_file", "write"),
        ("files.tool.edit_file", "write"),
    ] {
        let said = operations.get(action).map(|operation| &operation["path"]);
        ensure!(said == Some(&json!(path)), "{action} is not on the {path} path: {said:?}");
    }
    Ok(())
}

fn read_files(lab: &Lab<'_>) -> anyhow::Result<()> {
    let dir = lab.files.display().to_string();
    let under = format!("where.path = {{ file_under = \"{dir}\" }}");
    let task = lab.task(&[
        ("files.tool.read_text_file", "read", &under),
        ("files.tool.list_directory", "read", &under),
        ("files.tool.write_file", "write", &format!("other = \"any\"\n{under}")),
    ])?;
    let steps = [
        step("tool", "read_text_file", json!({ "path": format!("{dir}/note.txt") })),
        step("tool", "list_directory", json!({ "path": dir })),
        step("tool", "read_text_file", json!({ "path": format!("{dir}/../carnet.toml") })),
        step("tool", "read_text_file", json!({ "path": "/etc/passwd" })),
        step("tool", "write_file", json!({ "path": format!("{dir}/x.txt"), "content": "x" })),
    ];
    let driven = by_address(lab, FILES, &task, &steps)?;
    ensure!(driven.permitted(0)?.contains(NOTE), "the note was not read");
    ensure!(driven.permitted(1)?.contains("note.txt"), "the directory was not listed");
    driven.refused(2, "not_covered")?;
    driven.refused(3, "not_covered")?;
    driven.refused(4, "wrong_path")?;
    ensure!(!lab.files.join("x.txt").exists(), "a file was written on the read path");
    Ok(())
}

fn write_files(lab: &Lab<'_>) -> anyhow::Result<()> {
    let dir = lab.files.display().to_string();
    let bound = format!(
        "uses = 1\nwhere.path = {{ file_under = \"{dir}\" }}\n\
         where.content = {{ length = {{ max = 100 }} }}"
    );
    let task = lab.task(&[
        ("files.tool.write_file", "write", &bound),
        ("files.tool.read_text_file", "read", ""),
    ])?;
    let write = |name: &str| {
        step("tool", "write_file", json!({ "path": format!("{dir}/{name}"), "content": NOTE }))
    };
    let steps = [
        list("tools"),
        write("../outside.txt"),
        write("one.txt"),
        write("two.txt"),
        step("tool", "read_text_file", json!({ "path": format!("{dir}/one.txt") })),
    ];
    let words = lab.carnet.words(&["connect", FILES, "--task", &task]);
    let plan = json!({ "stdio": words, "mode": Sdk::TypeScript.mode(None) });
    let driven = Sdk::TypeScript.drive(lab.programs, plan, &steps)?;
    let tools = driven.names(0)?;
    ensure!(tools.len() == 2, "both paths are not one list: {tools:?}");
    driven.refused(1, "not_covered")?;
    driven.permitted(2)?;
    driven.refused(3, "grant_spent")?;
    ensure!(driven.permitted(4)?.contains(NOTE), "what was written is not what is read");
    let written = std::fs::read_to_string(lab.files.join("one.txt"))?;
    ensure!(written == NOTE, "the file holds {written}");
    ensure!(!lab.files.join("two.txt").exists(), "a second file was written with one use");
    ensure!(!lab.dir().join("outside.txt").exists(), "a file was written outside");
    Ok(())
}

fn by_address(
    lab: &Lab<'_>,
    resource: &str,
    task: &str,
    steps: &[Value],
) -> anyhow::Result<Driven> {
    let token_file = lab.token_file(task, resource)?;
    let url = lab.carnet.address(resource);
    let mode = Sdk::TypeScript.mode(None);
    let plan = json!({ "url": url, "token_file": token_file, "mode": mode });
    Sdk::TypeScript.drive(lab.programs, plan, steps)
}
