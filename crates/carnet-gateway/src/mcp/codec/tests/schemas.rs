//! Compiled schemas.

use carnet_core::{Digest, OperationKind};
use serde_json::{Map, Value, json};

use crate::mcp::codec::{Schema, SchemaError, Schemas, pin};

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!() };
    members
}

#[test]
fn a_schema_is_compiled_once_for_its_pin_and_room_is_made() {
    let schemas = Schemas::new(2);
    let tool =
        |n: u32| json!({ "name": "t", "inputSchema": { "type": "object", "minProperties": n } });
    let get = |n| {
        let tool = tool(n);
        schemas.compiled(OperationKind::Tool, pin(&tool).unwrap(), &tool).unwrap()
    };
    let first = get(0);
    assert!(std::sync::Arc::ptr_eq(&first, &get(0)));
    get(1);
    get(2);
    assert!(!std::sync::Arc::ptr_eq(&first, &get(0)));
}

#[test]
fn a_definition_that_is_not_the_pinned_one_is_not_used() {
    let tool = json!({ "name": "t", "inputSchema": { "type": "object" } });
    let other = Digest::of(b"another");
    let error = Schemas::new(2).compiled(OperationKind::Tool, other, &tool).unwrap_err();
    assert_eq!(error, SchemaError::Pin);
}

#[test]
fn an_error_names_the_place_and_the_rule_and_never_the_value() {
    let schema = Schema::compile(&json!({ "properties": { "key": { "enum": ["a"] } } })).unwrap();
    let error = schema.check(&object(json!({ "key": "hunter2" }))).unwrap_err();
    assert_eq!((error.at.as_str(), error.rule.as_str()), ("/key", "enum"));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn a_prompts_list_of_arguments_is_a_schema() {
    let prompt = json!({ "name": "p", "arguments": [{ "name": "who", "required": true }, { "name": "how" }] });
    let schema = Schema::of(OperationKind::Prompt, &prompt).unwrap();
    assert!(schema.check(&object(json!({ "who": "a" }))).is_ok());
    assert_eq!(schema.check(&object(json!({ "how": "a" }))).unwrap_err().rule, "required");
    let more = schema.check(&object(json!({ "who": "a", "x": "b" }))).unwrap_err();
    assert_eq!(more.rule, "additionalProperties");
}

#[test]
fn arguments_a_schema_does_not_name_can_be_listed() {
    let schema = Schema::compile(&json!({ "properties": { "a": {} } })).unwrap();
    assert_eq!(schema.undeclared(&object(json!({ "a": 1, "b": 2 }))), ["b"]);
}

#[test]
fn a_union_of_many_kinds_is_usable_as_deep_as_it_is_affordable() {
    let branch =
        |n: u32| json!({ "properties": { "kind": { "const": n }, "inner": { "$ref": "#" } } });
    let branches: Vec<Value> = (0..30).map(branch).collect();
    let schema = Schema::compile(&json!({ "anyOf": branches })).unwrap();
    let nested = |levels: usize| {
        (0..levels).fold(json!({ "kind": 1 }), |inner, _| json!({ "kind": 1, "inner": inner }))
    };
    assert!(schema.check(&object(nested(1))).is_ok());
    assert_eq!(schema.check(&object(nested(10))).unwrap_err().rule, "maxDepth");
}

#[test]
fn any_json_described_by_itself_is_usable_to_the_full_depth() {
    let schema = json!({
        "properties": { "value": { "$ref": "#/$defs/json" } },
        "$defs": { "json": { "anyOf": [
            { "type": ["string", "number", "boolean", "null"] },
            { "type": "array", "items": { "$ref": "#/$defs/json" } },
            { "type": "object", "additionalProperties": { "$ref": "#/$defs/json" } },
        ]}},
    });
    let schema = Schema::compile(&schema).unwrap();
    let nested = |levels: usize| {
        let value = (0..levels).fold(json!(1), |inner, level| {
            if level % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) }
        });
        object(json!({ "value": value }))
    };
    assert!(schema.check(&nested(31)).is_ok());
    assert!(schema.check(&nested(32)).is_err());
}

#[test]
fn a_schemas_own_name_does_not_move_its_references() {
    let schema = json!({
        "$id": "http://json-schema.org/draft-07/schema",
        "$defs": { "n": { "maximum": 3 } },
        "properties": { "a": { "$ref": "#/$defs/n" } },
    });
    let schema = Schema::compile(&schema).unwrap();
    assert_eq!(schema.check(&object(json!({ "a": 4 }))).unwrap_err().at, "/a");
}

#[test]
fn an_argument_that_only_looks_like_a_declared_one_does_not_fit() {
    let within = json!({ "properties": { "key": { "type": "string" } } });
    let schema = json!({
        "type": "object",
        "properties": {
            "path": { "type": "string" },
            "inner": within,
            "many": { "type": "array", "items": within },
            "free": { "type": "object" },
        },
    });
    let schema = Schema::compile(&schema).unwrap();
    let refused = [
        json!({ "Path": "/etc/passwd" }),
        json!({ "inner": { "\u{212a}ey": "v" } }),
        json!({ "many": [{ "key": "v" }, { "KEY": "v" }] }),
    ];
    for arguments in refused {
        assert_eq!(schema.check(&object(arguments)).unwrap_err().rule, "properties");
    }
    for arguments in [json!({ "path": "a", "other": "b" }), json!({ "free": { "Path": 1 } })] {
        assert!(schema.check(&object(arguments)).is_ok());
    }
}
