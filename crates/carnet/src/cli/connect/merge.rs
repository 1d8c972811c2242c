//! One answer out of the answers of several paths.

use std::collections::BTreeSet;

use bytes::Bytes;
use carnet_gateway::mcp::codec::{Id, ListKind, Mirrored, mirrored};
use serde_json::{Map, Value};

use crate::cli::connect::raw::{Members, Writer, elements};

/// The most items taken of one path's list.
pub(crate) const ITEMS_MAX: usize = 4_096;

/// What one path lists, all its pages.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The result of the first page.
    first: String,
    /// The items.
    pub(crate) items: Vec<Item>,
}

/// One item, as it is written.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its name, address or template.
    pub(crate) key: String,
    /// The arguments it wants repeated in headers.
    pub(crate) mirrored: Vec<Mirrored>,
    text: String,
}

/// A page that is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the list could not be understood, or has more than {ITEMS_MAX} items")]
pub(crate) struct PageError;

impl Listing {
    /// Adds a page; tells the cursor of the next one.
    pub(crate) fn add(
        &mut self,
        kind: ListKind,
        result: &str,
    ) -> Result<Option<String>, PageError> {
        let members = Members::of(result).ok_or(PageError)?;
        let items = members.get(kind.member()).and_then(elements).ok_or(PageError)?;
        if self.items.len().saturating_add(items.len()) > ITEMS_MAX {
            return Err(PageError);
        }
        // What has no name cannot be called, so it is not shown.
        self.items.extend(items.into_iter().filter_map(|item| Item::of(kind, item)));
        if self.first.is_empty() {
            result.clone_into(&mut self.first);
        }
        let cursor = members.get("nextCursor").map(serde_json::from_str::<Option<String>>);
        cursor.transpose().map(Option::flatten).map_err(|_| PageError)
    }
}

impl Item {
    fn of(kind: ListKind, text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let key = value.get(kind.key())?.as_str()?.to_owned();
        let schema = value.get("inputSchema").filter(|_| kind == ListKind::Tools);
        let mirrored = schema.and_then(|schema| mirrored(schema).ok()).unwrap_or_default();
        Some(Self { key, mirrored, text: text.to_owned() })
    }
}

/// One list of the lists of several paths, in the order given: the items as they are written, the
/// rest of the result from the first, and no cursor.
pub(crate) fn lists(kind: ListKind, id: &Id, listings: &[Listing]) -> Bytes {
    let mut seen = BTreeSet::new();
    let items = listings.iter().flat_map(|listing| &listing.items);
    let items: Vec<&str> = items
        .filter(|item| seen.insert(item.key.as_str()))
        .map(|item| item.text.as_str())
        .collect();
    let items = format!("[{}]", items.join(","));
    let firsts: Vec<_> = listings.iter().filter_map(|it| Members::of(&it.first)).collect();
    let mut result = Writer::default();
    result.member(kind.member(), &items);
    for (name, value) in firsts.first().into_iter().flat_map(Members::iter) {
        match name {
            "nextCursor" => {}
            name if name == kind.member() => {}
            // The whole is stale as soon as any part of it is.
            "ttlMs" => result.member(name, &shortest(&firsts, value)),
            _ => result.member(name, value),
        }
    }
    answer(id, &result.finish())
}

fn shortest(results: &[Members<'_>], own: &str) -> String {
    let ttl = |members: &Members<'_>| members.get("ttlMs")?.parse::<u64>().ok();
    results.iter().filter_map(ttl).min().map_or_else(|| own.to_owned(), |ttl| ttl.to_string())
}

/// One handshake of those of several paths: the first, with everything that any of them can do.
pub(crate) fn handshakes(id: &Id, results: &[String]) -> Option<Bytes> {
    let first = results.first()?;
    let members = Members::of(first)?;
    let mut united = Map::new();
    for result in results {
        let capabilities = Members::of(result)?.get("capabilities").map(serde_json::from_str);
        if let Some(Ok(capabilities)) = capabilities {
            unite(&mut united, capabilities);
        }
    }
    let united = Value::Object(united).to_string();
    Some(answer(id, &members.with("capabilities", &united)))
}

fn unite(united: &mut Map<String, Value>, other: Map<String, Value>) {
    for (name, value) in other {
        match (united.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(more)) => unite(known, more),
            (Some(known @ Value::Bool(false)), Value::Bool(true)) => *known = Value::Bool(true),
            (Some(_), _) => {}
            (None, value) => drop(united.insert(name, value)),
        }
    }
}

fn answer(id: &Id, result: &str) -> Bytes {
    let mut message = Writer::default();
    message.member("jsonrpc", "\"2.0\"");
    let id = match id {
        Id::Number(number) => Value::from(*number),
        Id::Text(text) => Value::from(text.as_str()),
    };
    message.member("id", &id.to_string());
    message.member("result", result);
    Bytes::from(message.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listing(pages: &[&str]) -> Listing {
        let mut listing = Listing::default();
        for page in pages {
            listing.add(ListKind::Tools, page).unwrap();
        }
        listing
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn items_of_all_paths_stand_in_one_list_as_they_were_written() {
        let read = listing(&[
            r#"{"tools":[ {"name":"a", "n":1.0} ],"nextCursor":"x","cacheScope":"private","ttlMs":900}"#,
            r#"{"tools":[{"name":"b"}]}"#,
        ]);
        let write = listing(&[r#"{"tools":[{"name":"c"},{"title":"nameless"}],"ttlMs":100}"#]);
        let merged = lists(ListKind::Tools, &Id::Text("i\"d".into()), &[read, write]);
        let expected = concat!(
            r#"{"jsonrpc":"2.0","id":"i\"d","result":{"tools":[{"name":"a", "n":1.0},{"name":"b"},"#,
            r#"{"name":"c"}],"cacheScope":"private","ttlMs":100}}"#,
        );
        assert_eq!(text(&merged), expected);
    }

    #[test]
    fn a_name_on_two_paths_is_shown_once() {
        let one = || listing(&[r#"{"tools":[{"name":"a"}]}"#]);
        let merged = lists(ListKind::Tools, &Id::Number(1), &[one(), one()]);
        assert_eq!(text(&merged).matches("\"name\"").count(), 1);
    }

    #[test]
    fn no_path_at_all_is_an_empty_list() {
        let merged = lists(ListKind::Prompts, &Id::Number(1), &[]);
        assert_eq!(text(&merged), r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[]}}"#);
    }

    #[test]
    fn pages_are_followed_by_their_cursor_and_bounded() {
        let mut listing = Listing::default();
        let page = r#"{"tools":[],"nextCursor":"n"}"#;
        assert_eq!(listing.add(ListKind::Tools, page), Ok(Some("n".into())));
        assert_eq!(listing.add(ListKind::Tools, r#"{"tools":[],"nextCursor":null}"#), Ok(None));
        for page in [r#"{"tools":{}}"#, r#"{}"#, r#"{"tools":[],"nextCursor":1}"#] {
            assert_eq!(listing.add(ListKind::Tools, page), Err(PageError), "{page}");
        }
        let many = json!({ "tools": vec![json!({ "name": "x" }); ITEMS_MAX + 1] }).to_string();
        assert_eq!(listing.add(ListKind::Tools, &many), Err(PageError));
    }

    #[test]
    fn what_any_path_can_do_the_whole_can_do() {
        let read = json!({ "protocolVersion": "2025-11-25", "serverInfo": { "name": "d" },
            "capabilities": { "tools": { "listChanged": false }, "logging": {} } });
        let write = json!({ "protocolVersion": "2025-11-25", "serverInfo": { "name": "other" },
            "capabilities": { "tools": { "listChanged": true }, "prompts": {} } });
        let merged = handshakes(&Id::Number(0), &[read.to_string(), write.to_string()]).unwrap();
        let merged: Value = serde_json::from_slice(&merged).unwrap();
        let capabilities =
            json!({ "tools": { "listChanged": true }, "logging": {}, "prompts": {} });
        assert_eq!(merged["result"]["capabilities"], capabilities);
        assert_eq!(merged["result"]["serverInfo"]["name"], "d");
        assert_eq!(merged["id"], 0);
    }
}
