//! The published schemas of authorization details, held to what is read.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Bench;
use crate::oauth::details::Details;
use crate::oauth::exchange::details::Delegation;
use crate::oauth::schema::TYPES;

fn taken_by_schema(name: &str, object: &Value) -> bool {
    let (_, schema) = TYPES.into_iter().find(|(known, _)| *known == name).unwrap();
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap().is_valid(object)
}

fn taken_by_reader(name: &str, object: &Value) -> bool {
    let text = json!([object]).to_string();
    match name {
        "carnet_task" => Details::parse(&text).is_ok(),
        _ => Delegation::parse(&text).is_ok(),
    }
}

#[track_caller]
fn same(name: &str, object: &Value, taken: bool) {
    assert_eq!(taken_by_reader(name, object), taken, "the reader: {object}");
    assert_eq!(taken_by_schema(name, object), taken, "the schema: {object}");
}

#[tokio::test]
async fn each_type_has_its_schema_at_the_address_in_the_metadata() {
    let bench = Bench::new().await;
    let metadata = bench.get("/.well-known/oauth-authorization-server").await.json();
    for name in ["carnet_task", "carnet_delegation"] {
        let place = metadata["carnet_authorization_details_schemas"][name].as_str().unwrap();
        let answer = bench.get(place.strip_prefix("https://carnet.example").unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), Some("application/schema+json"));
        assert_eq!(answer.json()["title"], name);
        assert!(jsonschema::draft202012::meta::is_valid(&answer.json()), "{name}");
    }
    assert_eq!(bench.get("/oauth/schemas/payment.json").await.status, StatusCode::NOT_FOUND);
}

#[test]
fn the_schema_of_a_task_takes_what_is_read_and_nothing_else() {
    let good = json!({ "type": "carnet_task", "task": "task_1" });
    let with = |name: &str, value: Value| {
        let mut object = good.clone();
        object[name] = value;
        object
    };
    same("carnet_task", &good, true);
    for (name, value) in [
        ("path", json!("read")),
        ("path", json!("admin")),
        ("locations", json!([])),
        ("locations", json!(["https://carnet.example/read/mcp/desk"])),
        ("task", json!("task_01a20a7031957442890c3571546c6eb5")),
    ] {
        same("carnet_task", &with(name, value), true);
    }
    for (name, value) in [
        ("type", json!("payment")),
        ("type", json!(1)),
        ("task", json!("grant_1")),
        ("task", json!("task_")),
        ("task", json!("task_A-b")),
        ("task", json!(format!("task_{}", "a".repeat(100)))),
        ("task", json!(1)),
        ("path", json!("delete")),
        ("path", json!(null)),
        ("path", json!(["read"])),
        ("locations", json!("x")),
        ("locations", json!([1])),
        ("actions", json!(["all"])),
    ] {
        same("carnet_task", &with(name, value), false);
    }
    same("carnet_task", &json!({ "type": "carnet_task" }), false);
    same("carnet_task", &json!({ "task": "task_1" }), false);
    same("carnet_task", &json!([]), false);
    same("carnet_task", &json!(null), false);
}

/// A delegation whose only allowance has `name` set to `value`.
fn allowing(name: &str, value: &Value) -> Value {
    let mut allowance = json!({ "action": "desk.tool.get_*", "path": "write" });
    allowance[name] = value.clone();
    delegation(&json!({ "purpose": "support", "allow": [allowance] }))
}

fn delegation(intent: &Value) -> Value {
    json!({ "type": "carnet_delegation", "intent": intent })
}

#[test]
fn the_schema_of_a_delegation_takes_what_is_read_and_nothing_else() {
    let name = "carnet_delegation";
    let intent = |member: &str, value: Value| {
        let mut intent = json!({ "purpose": "support", "allow": [] });
        intent[member] = value;
        delegation(&intent)
    };
    for (member, value) in [
        ("purpose", json!("close stale tickets")),
        ("deadline", json!("30m")),
        ("deadline", json!("005s")),
        ("budget", json!({})),
        ("budget", json!({ "calls": 5, "fan_out": 0, "depth": 1, "rows": 1, "spend_cents": 9 })),
        ("allow", json!([])),
    ] {
        same(name, &intent(member, value), true);
    }
    for (member, value) in [
        ("purpose", json!("")),
        ("purpose", json!(" x")),
        ("purpose", json!("x ")),
        ("purpose", json!("x".repeat(257))),
        ("purpose", json!(1)),
        ("deadline", json!("30")),
        ("deadline", json!("0s")),
        ("deadline", json!("1w")),
        ("deadline", json!(30)),
        ("budget", json!({ "calls": -1 })),
        ("budget", json!({ "calls": 1.5 })),
        ("budget", json!({ "calls": "5" })),
        ("budget", json!({ "call": 5 })),
        ("allow", json!({})),
        ("allow", json!([{}])),
        ("allow", json!(null)),
        ("alow", json!([])),
    ] {
        same(name, &intent(member, value), false);
    }
    for odd in [json!({}), json!({ "purpose": "x" }), json!("x"), json!(null), json!([])] {
        same(name, &delegation(&odd), false);
    }
    same(name, &json!({ "type": name }), false);
    same(name, &json!({ "type": "carnet_task", "intent": { "purpose": "x", "allow": [] } }), false);
}

#[test]
fn the_schema_of_an_allowance_takes_what_is_read_and_nothing_else() {
    let name = "carnet_delegation";
    for (member, value) in [
        ("action", json!("desk.tool.close_ticket")),
        ("action", json!("desk.tool.*")),
        ("action", json!("desk.tool.a*b*c/*")),
        ("path", json!("admin")),
        ("other", json!("any")),
        ("uses", json!(1)),
        ("total", json!({ "cents": 100 })),
        ("approve", json!("on_use")),
        ("delegate_only", json!(true)),
        ("expires", json!("10m")),
    ] {
        same(name, &allowing(member, &value), true);
    }
    for (member, value) in [
        ("action", json!("*.tool.x")),
        ("action", json!("desk.tool")),
        ("action", json!("desk.tool.")),
        ("action", json!("desk.tool.a**")),
        ("action", json!("Desk.tool.x")),
        ("action", json!("desk.tool.a b")),
        ("path", json!("delete")),
        ("other", json!("allow")),
        ("uses", json!(0)),
        ("uses", json!("1")),
        ("uses", json!(9_007_199_254_740_992_u64)),
        ("total", json!({ "cents": -1 })),
        ("total", json!({ "": 1 })),
        ("approve", json!("later")),
        ("delegate_only", json!("yes")),
        ("expires", json!("now")),
        ("grants", json!([])),
    ] {
        same(name, &allowing(member, &value), false);
    }
}

#[test]
fn the_schema_of_a_binding_takes_what_is_read_and_nothing_else() {
    let name = "carnet_delegation";
    let bound = |binding: &Value| allowing("where", &json!({ "x": binding }));
    for binding in [
        json!({ "equals": 42 }),
        json!({ "equals": null }),
        json!({ "one_of": ["a", 1] }),
        json!({ "range": { "min": -1, "max": 2.5 } }),
        json!({ "at_most": 0 }),
        json!({ "length": { "max": 5 } }),
        json!({ "file_under": "/srv/data" }),
        json!({ "url": { "scheme": "https", "host": "desk.example" } }),
        json!({ "url": { "scheme": "https", "host": "desk.example", "port": 8443, "path_under": "/a" } }),
        json!({ "email": { "address": "ana@desk.example" } }),
        json!({ "email": { "domain": "desk.example" } }),
        json!({ "matches": "[a-z]+" }),
        json!({ "every": { "every": { "equals": 1 } } }),
    ] {
        same(name, &bound(&binding), true);
    }
    for binding in [
        json!({}),
        json!(42),
        json!({ "equals": 1, "at_most": 2 }),
        json!({ "one_of": [] }),
        json!({ "one_of": "a" }),
        json!({ "range": { "min": 1 } }),
        json!({ "range": { "min": 1, "max": "2" } }),
        json!({ "at_most": -1 }),
        json!({ "length": {} }),
        json!({ "length": { "max": -5 } }),
        json!({ "file_under": 1 }),
        json!({ "url": { "host": "desk.example" } }),
        json!({ "url": { "scheme": "https", "host": "desk.example", "port": 0 } }),
        json!({ "url": { "scheme": "https", "host": "desk.example", "path_under": "a" } }),
        json!({ "email": {} }),
        json!({ "email": { "address": "a@b.example", "domain": "b.example" } }),
        json!({ "matches": 1 }),
        json!({ "every": {} }),
        json!({ "from": "x" }),
    ] {
        same(name, &bound(&binding), false);
    }
}
