//! Tests of the intent as a whole.

mod conformance;
mod corpus;
mod cover;
mod examples;
mod file;
mod spelling;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{Allowance, ArgumentKind, Arguments, Digest, EffectClass, Operation, Path, Reach};
use crate::{Registered, Uncovered};

type Kinds = BTreeMap<String, ArgumentKind>;

fn operation_on(path: Path, action: &str, arguments: Value) -> Operation {
    operation_at(action.split('.').next().unwrap(), path, action, arguments)
}

fn operation_at(resource: &str, path: Path, action: &str, arguments: Value) -> Operation {
    let arguments: Map<String, Value> = serde_json::from_value(arguments).unwrap();
    let registered = Registered {
        action: action.parse().unwrap(),
        path,
        effect: EffectClass { reversible: false, reach: Reach::Inside },
        arguments: Kinds::new(),
        pin: Digest::of(b"definition"),
        definition: Value::Null,
    };
    Operation::new(resource.parse().unwrap(), &registered, Arguments::try_from(arguments).unwrap())
        .unwrap()
}

fn refund(arguments: Value) -> Operation {
    operation_on(Path::Write, "desk.tool.issue_refund", arguments)
}

fn allowance(value: Value) -> Allowance {
    serde_json::from_value(value).unwrap()
}

fn refunds() -> Allowance {
    allowance(json!({
        "action": "desk.tool.issue_refund",
        "path": "write",
        "where": { "order_id": { "equals": "O-1" }, "amount_cents": { "at_most": 5000 } },
        "total": { "amount_cents": 8000 },
        "uses": 3,
    }))
}

fn cover(allowance: &Allowance, operation: &Operation) -> Result<BTreeMap<String, i64>, Uncovered> {
    allowance.covers(operation, &Kinds::new())
}
