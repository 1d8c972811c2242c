//! Filtered lists.

use proptest::prelude::*;
use serde_json::Value;

use super::{read, value};
use crate::mcp::codec::{
    Filtered, ListError, ListKind, Message, Response, Revision, Sender, filter,
};

fn response(text: &str) -> Response {
    match read(text, Sender::Server) {
        Ok(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn tools(text: &str, revision: Revision, names: &[&str]) -> Result<Filtered, ListError> {
    filter(&response(text), ListKind::Tools, revision, |item| names.contains(&item.key))
}

#[test]
fn every_byte_outside_the_removed_items_survives() {
    let before = r#"{ "jsonrpc":"2.0", "id" : 1,"result":{"x":[ 1.0 ,"\u0041"], "tools": [ {"name":"a" , "n":1e2}, {"name":"b"},
      {"z":9007199254740993,"name":"c"} ] , "nextCursor":"p2", "y":null } }"#;
    let after = r#"{ "jsonrpc":"2.0", "id" : 1,"result":{"x":[ 1.0 ,"\u0041"], "tools": [{"name":"a" , "n":1e2},{"z":9007199254740993,"name":"c"}] , "nextCursor":"p2", "y":null } }"#;
    let filtered = tools(before, Revision::V2025_11_25, &["a", "c"]).unwrap();
    assert_eq!(filtered.bytes, after);
    assert_eq!((filtered.kept, filtered.removed), (2, 1));
}

#[test]
fn a_list_from_which_nothing_is_removed_is_the_same_bytes() {
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"a"} ]}}"#;
    assert_eq!(tools(text, Revision::V2025_06_18, &["a"]).unwrap().bytes, text);
}

#[test]
fn a_list_made_for_one_task_is_private_whatever_the_server_says() {
    for (before, after) in [
        (r#"{"tools":[],"cacheScope":"public"}"#, r#"{"tools":[],"cacheScope":"private"}"#),
        (r#"{"cacheScope":  7 ,"tools":[]}"#, r#"{"cacheScope":  "private" ,"tools":[]}"#),
        (r#"{"tools":[]}"#, r#"{"cacheScope":"private","tools":[]}"#),
    ] {
        let whole = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let filtered = tools(&whole(before), Revision::V2026_07_28, &[]).unwrap();
        assert_eq!(filtered.bytes, whole(after));
    }
    // An older revision knows no such member, and is given none.
    let old = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
    assert_eq!(tools(old, Revision::V2025_11_25, &[]).unwrap().bytes, old);
}

#[test]
fn an_item_without_a_name_is_not_kept() {
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":["a"]},7,{"title":"a"},{"name":"a"}]}}"#;
    let filtered =
        filter(&response(text), ListKind::Tools, Revision::V2025_06_18, |_| true).unwrap();
    assert_eq!((filtered.kept, filtered.removed), (1, 3));
    assert_eq!(value(&filtered.bytes)["result"]["tools"], serde_json::json!([{ "name": "a" }]));
}

#[test]
fn what_is_no_list_is_not_passed_on() {
    let list = |result: &str| {
        tools(
            &format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#),
            Revision::V2026_07_28,
            &["a"],
        )
    };
    assert_eq!(list(r#"{}"#), Err(ListError::NotList("tools")));
    assert_eq!(list(r#"{"tools":{"name":"a"}}"#), Err(ListError::NotList("tools")));
    assert_eq!(list(r#"{"prompts":[]}"#), Err(ListError::NotList("tools")));
    let asks = list(r#"{"tools":[],"resultType":"input_required"}"#);
    assert_eq!(asks, Err(ListError::Incomplete));
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#;
    assert_eq!(tools(error, Revision::V2026_07_28, &[]).unwrap().bytes, error);
}

proptest! {
    #[test]
    fn a_filtered_list_holds_exactly_the_permitted_items_as_they_were_written(
        items in proptest::collection::vec(("[a-z]{1,3}", "[ \n]{0,2}", "\\PC{0,6}", any::<bool>()), 0..12),
        gap in "[ \n]{0,2}",
        scoped: bool,
    ) {
        let written: Vec<String> = items.iter().map(|(name, gap, text, _)| {
            let text = Value::from(text.as_str());
            format!("{{{gap}\"name\":{gap}\"{name}\",\"d\":{text}{gap}}}")
        }).collect();
        let scope = if scoped { "\"cacheScope\":\"public\"," } else { "" };
        let list = written.iter().map(|item| format!("{gap}{item}{gap}")).collect::<Vec<_>>().join(",");
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{scope}"tools":[{list}],"z":"\u0041"}}}}"#);
        let mut index = 0;
        let filtered = filter(&response(&text), ListKind::Tools, Revision::V2026_07_28, |_| {
            index += 1;
            items[index - 1].3
        }).unwrap();
        let kept: Vec<&str> = written.iter().zip(&items).filter(|(_, item)| item.3).map(|(w, _)| w.as_str()).collect();
        let after = std::str::from_utf8(&filtered.bytes).unwrap();
        prop_assert_eq!(filtered.kept, kept.len());
        prop_assert!(after.contains(r#""z":"\u0041""#));
        prop_assert!(after.contains(r#""cacheScope":"private""#));
        if kept.len() < written.len() {
            let list = format!("\"tools\":[{}]", kept.join(","));
            prop_assert!(after.contains(&list), "{}", after);
        } else {
            let list = format!("\"tools\":[{list}]");
            prop_assert!(after.contains(&list), "{}", after);
        }
        prop_assert!(read(after, Sender::Server).is_ok());
    }
}
