//! Strict JSON.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::mcp::codec::{JsonError, Limits, Names, Numbers, read};

fn refused(text: &[u8]) -> JsonError {
    read(Bytes::copy_from_slice(text), &Limits::REQUEST).unwrap_err()
}

#[test]
fn a_member_named_twice_is_refused_at_any_level() {
    for text in [r#"{"a":1,"a":1}"#, r#"[{"x":{"a":1,"b":2,"a":3}}]"#, r#"{"a":1,"\u0061":1}"#] {
        assert_eq!(refused(text.as_bytes()), JsonError::Duplicate { name: "a".into() }, "{text}");
    }
}

#[test]
fn the_bounds_hold_exactly() {
    let (numbers, names) = (Numbers::Safe, Names::Exact);
    let limits = Limits { bytes_max: 40, depth_max: 3, nodes_max: 6, numbers, names };
    let read = |text: &str| read(Bytes::copy_from_slice(text.as_bytes()), &limits).map(|_| ());
    assert_eq!(read("[[[1]]]"), Ok(()));
    assert_eq!(read("[[[[]]]]"), Err(JsonError::TooDeep { depth_max: 3 }));
    assert_eq!(read("[1,2,3,4,5]"), Ok(()));
    assert_eq!(read("[1,2,3,4,5,6]"), Err(JsonError::TooMany { nodes_max: 6 }));
    assert_eq!(read(&format!("\"{}\"", "a".repeat(38))), Ok(()));
    let long = format!("\"{}\"", "a".repeat(39));
    assert_eq!(read(&long), Err(JsonError::TooLong { bytes_max: 40 }));
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let text = open.repeat(100_000) + "1" + &close.repeat(100_000);
        assert_eq!(refused(text.as_bytes()), JsonError::TooDeep { depth_max: 64 });
    }
}

#[test]
fn a_number_that_readers_disagree_on_is_refused_where_it_would_be_decided_on() {
    let limits = Limits::REQUEST;
    for text in ["9007199254740991", "-9007199254740991", "0.5", "9.007199254740991e15"] {
        assert!(read(Bytes::from(text), &limits).is_ok(), "{text}");
    }
    for text in ["9007199254740992", "-9007199254740992", "18446744073709551617", "1e16"] {
        assert_eq!(refused(text.as_bytes()), JsonError::Number, "{text}");
        assert!(read(Bytes::from(text), &Limits::ANSWER).is_ok(), "{text}");
    }
    assert!(matches!(refused(b"1e999"), JsonError::Syntax { .. }));
}

#[test]
fn what_is_not_exactly_one_json_text_is_refused() {
    assert_eq!(refused(b"\"\xff\""), JsonError::NotUtf8 { at: 1 });
    for text in [
        "",
        "{} {}",
        "{}x",
        "{\"a\":1,}",
        "'a'",
        "\u{feff}{}",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        "nul",
        "01",
    ] {
        assert!(matches!(refused(text.as_bytes()), JsonError::Syntax { .. }), "{text}");
    }
}

#[test]
fn an_error_never_repeats_a_value() {
    let text = r#"{"password":"hunter2","password":"hunter3"}"#;
    assert!(!format!("{:?}", refused(text.as_bytes())).contains("hunter"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
        (-1.0e9..1.0e9).prop_map(|float: f64| json!(float)),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map("\\PC{0,6}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_original_bytes_are_kept_and_mean_what_was_read(value in any_json(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let document = read(Bytes::from(text.clone()), &Limits::REQUEST).unwrap();
        prop_assert_eq!(document.value(), &value);
        prop_assert_eq!(document.bytes(), &Bytes::from(text));
    }
}
