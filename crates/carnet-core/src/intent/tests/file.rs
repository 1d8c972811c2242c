//! Reading intents, and what is said of a wrong one.

use serde_json::{Value, json};

use crate::{Allowance, Approve, Binding, Intent, Other, Path};

fn intent(allow: Value) -> Value {
    json!({ "purpose": "refund order O-1", "allow": allow })
}

fn error(value: &Value) -> String {
    Intent::from_json(value.to_string().as_bytes()).unwrap_err().to_string()
}

fn binding_error(binding: Value) -> String {
    error(&intent(json!([
        { "action": "desk.tool.x", "path": "write", "where": { "amount_cents": binding } }
    ])))
}

#[test]
fn an_intent_has_one_golden_form() {
    let golden = include_str!("../../../corpus/intent/golden.json");
    let intent = Intent::from_json(golden.as_bytes()).unwrap();
    let mut written = serde_json::to_string_pretty(&intent).unwrap();
    written.push('\n');
    assert_eq!(written, golden);
}

#[test]
fn what_is_not_said_has_its_default() {
    let value = intent(json!([
        { "action": "desk.tool.get_*", "path": "read" },
        { "action": "desk.tool.close", "path": "write" },
    ]));
    let intent = Intent::from_json(value.to_string().as_bytes()).unwrap();
    let [read, write] = intent.allowances.try_into().unwrap();
    assert_eq!(read, Allowance::new("desk.tool.get_*".parse().unwrap(), Path::Read));
    assert_eq!((read.other, write.other), (Other::Any, Other::Deny));
    assert_eq!((write.approve, write.delegate_only), (Approve::None, false));
    assert!(!write.is_counted() && write.expires_s.is_none());
}

#[test]
fn an_unknown_binding_is_named_with_its_place_and_the_likely_one() {
    let mut value = intent(json!([]));
    value["allow"] = (0..3)
        .map(|i| {
            let name = if i == 2 { "atmost" } else { "at_most" };
            json!({ "action": "desk.tool.x", "path": "write", "where": { "amount_cents": { name: 5 } } })
        })
        .collect();
    assert_eq!(
        error(&value),
        "allow[2].where.amount_cents: unknown binding `atmost`; did you mean `at_most`?"
    );
}

#[test]
fn a_from_binding_is_not_supported_yet() {
    let error = binding_error(json!({ "from": { "read": "order", "field": "id" } }));
    assert!(
        error.starts_with("allow[0].where.amount_cents: `from` is not supported yet"),
        "{error}"
    );
}

#[test]
fn each_error_names_its_place_and_the_fix() {
    let one = |change: &str, value: Value| {
        let mut allow = json!({ "action": "desk.tool.x", "path": "write" });
        allow[change] = value;
        error(&intent(json!([allow])))
    };
    for (error, expected) in [
        (error(&json!({ "purpose": "p" })), "`allow` is missing; add it"),
        (error(&json!({ "allow": [] })), "`purpose` is missing; add it"),
        (error(&json!([])), "expected a table, found a list"),
        (
            error(&json!({ "purpose": "p", "allowances": [] })),
            "unknown key `allowances`; write one of `purpose`, `deadline`, `budget`, `allow`",
        ),
        (one("pth", json!(1)), "allow[0]: unknown key `pth`; did you mean `path`?"),
        (one("path", json!("wirte")), "allow[0].path: unknown word `wirte`; did you mean `write`?"),
        (
            one("expires", json!("10 minutes")),
            "allow[0].expires: write a whole number and one unit, such as `90s`, `30m`, `2h` or `1d`",
        ),
        (one("uses", json!(0)), "allow[0].uses: 0 uses allow nothing; write at least 1"),
        (one("uses", json!(-1)), "allow[0].uses: write a whole number that is not negative"),
        (
            one("approve", json!("onuse")),
            "allow[0].approve: unknown word `onuse`; did you mean `on_use`?",
        ),
        (
            one("total", json!({ "a b": 1.5 })),
            "allow[0].total.\"a b\": write a whole number that is not negative",
        ),
        (
            one("action", json!("*.tool.x")),
            "allow[0].action: `*.tool.x` has a `*` before the item: write the resource and the kind out, such as `desk.tool.get_*`",
        ),
        (
            binding_error(json!("O-1")),
            "allow[0].where.amount_cents: a binding says how to compare, such as `{ equals = … }`",
        ),
        (
            binding_error(json!({ "one_of": [] })),
            "allow[0].where.amount_cents: `one_of` lists nothing and would match nothing; add a value or remove the allowance",
        ),
        (
            binding_error(json!({ "range": { "min": 5, "max": 1 } })),
            "allow[0].where.amount_cents: `min` is greater than `max`; exchange them",
        ),
        (
            binding_error(json!({ "equals": 9_007_199_254_740_992_i64 })),
            "allow[0].where.amount_cents: the value is an integer outside ±(2^53−1), which programs round differently, so it would match nothing; write one in canonical form",
        ),
        (
            binding_error(json!({ "file_under": "/srv/../etc" })),
            "allow[0].where.amount_cents.file_under: the value is a file path with a `..` component",
        ),
        (
            binding_error(json!({ "email": {} })),
            "allow[0].where.amount_cents.email: give either `address` or `domain`",
        ),
    ] {
        assert_eq!(error, expected);
    }
}

#[test]
fn a_binding_that_could_match_nothing_or_too_much_is_refused() {
    for binding in [
        json!({}),
        json!({ "equals": 1, "at_most": 2 }),
        json!({ "at_most": -1 }),
        json!({ "at_most": "5" }),
        json!({ "length": {} }),
        json!({ "length": { "min": 2, "max": 1 } }),
        json!({ "range": { "min": 1 } }),
        json!({ "range": { "min": 1, "max": 2, "step": 1 } }),
        json!({ "equals": "x".repeat(5000) }),
        json!({ "one_of": (0..257).collect::<Vec<_>>() }),
        json!({ "matches": "(" }),
        json!({ "matches": "a)|(b" }),
        json!({ "email": { "address": "a@b.c", "domain": "b.c" } }),
        json!({ "email": { "domain": "*.example.com" } }),
        json!({ "email": { "domain": "@example.com" } }),
        json!({ "url": { "scheme": "https", "host": "*.example.com" } }),
        json!({ "url": { "scheme": "https", "host": "h.example:443" } }),
        json!({ "url": { "scheme": "https", "host": "u@h.example" } }),
        json!({ "url": { "scheme": "https", "host": "h.example/x" } }),
        json!({ "url": { "scheme": "https", "host": "h.example", "port": 0 } }),
        json!({ "url": { "scheme": "https", "host": "h.example", "port": 65_536 } }),
        json!({ "url": { "scheme": "file", "host": "h.example" } }),
        json!({ "url": { "scheme": "https", "host": "h.example", "path_under": "v1" } }),
        json!({ "url": { "scheme": "https", "host": "h.example", "path_under": "/v1/../x" } }),
        json!({ "url": { "scheme": "https", "host": "h.example", "path_under": "/v1?x" } }),
        json!({ "url": { "scheme": "https", "host": "h.example", "path_under": "/a%2fb" } }),
        json!({ "every": { "every": { "every": { "every": { "every": { "equals": 1 } } } } } }),
        json!({ "file_under": "srv" }),
    ] {
        let error = binding_error(binding.clone());
        assert!(error.starts_with("allow[0].where.amount_cents"), "{binding} {error}");
    }
}

#[test]
fn an_intent_is_bounded() {
    let allow = json!({ "action": "desk.tool.x", "path": "read" });
    assert!(error(&intent(vec![allow.clone(); 65].into())).starts_with("allow: more than 64"));
    let mut wide = allow.clone();
    wide["where"] = (0..65).map(|i| (format!("a{i}"), json!({ "equals": 1 }))).collect();
    assert!(error(&intent(json!([wide]))).starts_with("allow[0].where: names more than 64"));
    let mut named = allow;
    named["where"] = json!({ "n".repeat(129): { "equals": 1 } });
    assert!(error(&intent(json!([named]))).contains("1 to 128 bytes"));
    for purpose in ["", "  ", " x", "a\nb", "a\u{202e}b", &"p".repeat(257)] {
        let refused = error(&json!({ "purpose": purpose, "allow": [] }));
        assert!(refused.starts_with("purpose: the purpose"), "{refused}");
    }
    assert!(Intent::from_json(&vec![b' '; 300_000]).is_err());
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let deep = format!(r#"{{"purpose":"p","allow":{deep}}}"#);
    assert!(Intent::from_json(deep.as_bytes()).unwrap_err().to_string().contains("deeper than"));
}

#[test]
fn a_key_given_twice_is_refused() {
    for text in [
        r#"{"purpose":"p","purpose":"q","allow":[]}"#,
        r#"{"purpose":"p","allow":[{"action":"a.b.c","path":"read","where":{"x":{"equals":1},"x":{"equals":2}}}]}"#,
    ] {
        let refused = Intent::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("is given twice"), "{refused}");
    }
}

#[test]
fn what_a_toml_file_can_say_and_json_cannot_is_refused() {
    for value in ["nan", "inf", "2026-01-01", "07:30:00"] {
        let text = format!(
            "purpose = 'p'\n[[allow]]\naction = 'desk.tool.x'\npath = 'read'\nwhere.day = {{ equals = {value} }}\n"
        );
        assert!(toml::from_str::<Intent>(&text).is_err(), "{value}");
    }
}

#[test]
fn a_binding_in_code_with_its_ends_exchanged_matches_nothing() {
    let number = |n| crate::Number::of_integer(n).unwrap();
    let binding = Binding::Range { min: number(5), max: number(1) };
    assert!(binding.check(&json!(3), None).is_err() && binding.validate().is_err());
}

#[test]
fn a_name_that_a_json_reader_reserves_is_refused_at_any_depth() {
    for name in ["RawValue", "Number", "x"] {
        let name = format!("$serde_json::private::{name}");
        let text = format!(r#"{{"where":{{"a":{{"equals":{{"{name}":"1"}}}}}}}}"#);
        let mut reader = serde_json::Deserializer::from_str(&text);
        let error = crate::intent::tree::read(&mut reader).unwrap_err();
        assert!(error.to_string().contains("reserved"), "{error}");
        let nested = serde_json::json!({ "a": [{ name.clone(): "1" }] });
        for arguments in [serde_json::json!({ name: "1" }), nested] {
            let serde_json::Value::Object(arguments) = arguments else { panic!() };
            assert!(crate::Arguments::try_from(arguments).is_err());
        }
    }
}
