//! First guesses for a reviewer, and what changed.

use carnet_core::{ArgumentKind, Path, Reach};
use serde_json::json;

use crate::mcp::codec::{difference, suggest};

#[test]
fn a_tool_that_says_nothing_is_a_write_that_leaves_and_stays() {
    let guess = suggest(&json!({ "name": "close_ticket" }));
    assert_eq!(guess.path, Path::Write);
    assert!(!guess.effect.reversible);
    assert_eq!(guess.effect.reach, Reach::Egress);
}

#[test]
fn only_a_closed_reader_is_guessed_to_be_a_read() {
    let guess = |hints| suggest(&json!({ "name": "get_ticket", "annotations": hints })).path;
    assert_eq!(guess(json!({ "readOnlyHint": true, "openWorldHint": false })), Path::Read);
    assert_eq!(guess(json!({ "readOnlyHint": true })), Path::Write);
    assert_eq!(guess(json!({ "readOnlyHint": true, "openWorldHint": true })), Path::Write);
    assert_eq!(guess(json!({ "readOnlyHint": "true", "openWorldHint": false })), Path::Write);
}

#[test]
fn reading_a_url_the_agent_chooses_is_sending() {
    let guess = suggest(&json!({
        "name": "fetch",
        "annotations": { "readOnlyHint": true, "openWorldHint": false },
        "inputSchema": { "properties": { "pageUrl": { "type": "string" } } },
    }));
    assert_eq!(guess.path, Path::Write);
    assert_eq!(guess.effect.reach, Reach::Egress);
    assert_eq!(guess.arguments["pageUrl"], ArgumentKind::Url);
}

#[test]
fn what_takes_a_program_is_guessed_to_be_admin() {
    for (name, schema) in [
        ("report", json!({ "sql": { "type": "string" } })),
        ("report", json!({ "query": { "type": "string", "description": "A SQL query" } })),
        ("tidy", json!({ "shellCommand": { "type": "string" } })),
        ("grant_role", json!({})),
        ("execute", json!({})),
    ] {
        let guess = suggest(&json!({ "name": name, "inputSchema": { "properties": schema } }));
        assert_eq!(guess.path, Path::Admin, "{name} {schema}");
    }
}

#[test]
fn arguments_are_guessed_from_their_format_and_their_names() {
    let guess = suggest(&json!({ "name": "t", "inputSchema": { "properties": {
        "to": { "type": "string", "format": "email" },
        "recipients": { "type": "array", "items": { "type": "string" } },
        "file_path": { "type": "string" },
        "path": { "type": "integer" },
        "note": { "type": "string" },
    }}}));
    assert_eq!(guess.arguments["to"], ArgumentKind::Email);
    assert_eq!(guess.arguments["recipients"], ArgumentKind::Email);
    assert_eq!(guess.arguments["file_path"], ArgumentKind::FilePath);
    assert_eq!(guess.arguments.len(), 3);
}

#[test]
fn a_difference_reads_line_by_line_and_shows_what_hides() {
    let old = json!({ "name": "t", "description": "Reads.", "a/b": 1 });
    let new = json!({ "name": "t", "description": "Reads.\u{200b}\u{1b}[2J", "c": [1] });
    let text = difference(&old, &new).to_string();
    assert_eq!(
        text,
        "/a~1b: 1 -> (nothing)\n/c: (nothing) -> [1]\n\
         /description: \"Reads.\" -> \"Reads.\\u{200b}\\u001b[2J\"\n"
    );
}

#[test]
fn a_difference_is_bounded() {
    let new: Vec<u32> = (0..300).collect();
    let difference = difference(&json!([]), &json!(new));
    assert_eq!(difference.changes.len(), 256);
    assert!(difference.is_cut_short);
}
