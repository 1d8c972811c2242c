//! `docs/mcp.md` and the table are one.

use crate::mcp::codec::method::{Method, Shape, all};
use crate::mcp::codec::{DENIED_CODE, PENDING_CODE, Revision, Sender};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/mcp.md"));

fn row(method: &Method) -> String {
    let sender = match method.sender {
        Sender::Client => "client",
        Sender::Server => "server",
    };
    let shape = match method.shape {
        Shape::Request => "request",
        Shape::Notification => "notification",
        Shape::Input => "input",
    };
    let known: Vec<&str> = Revision::ALL
        .into_iter()
        .rev()
        .map(|revision| if method.revisions.contains(&revision) { "yes" } else { "" })
        .collect();
    format!("| `{}` | {sender} | {shape} | {} | {} |", method.name, known.join(" | "), method.rule)
}

#[test]
fn the_document_shows_every_row_of_the_table_and_no_other() {
    let shown: Vec<&str> = DOCUMENT
        .lines()
        .filter(|line| {
            line.starts_with("| `")
                && ["| client |", "| server |"].iter().any(|sender| line.contains(sender))
        })
        .collect();
    let rows: Vec<String> = all().iter().map(row).collect();
    assert_eq!(shown, rows, "the table, in its order:\n{}", rows.join("\n"));
}

#[test]
fn no_method_is_in_the_table_twice() {
    for (index, method) in all().iter().enumerate() {
        let again = all().iter().skip(index + 1).any(|other| {
            other.name == method.name
                && other.sender == method.sender
                && other.shape == method.shape
                && other.revisions.iter().any(|revision| method.revisions.contains(revision))
        });
        assert!(!again, "{}", method.name);
    }
}

#[test]
fn the_document_names_every_error_code() {
    for code in [-32700, -32600, -32601, -32602, -32020, -32022, DENIED_CODE, PENDING_CODE] {
        assert!(DOCUMENT.contains(&format!("| {code} |")), "{code}");
    }
}
