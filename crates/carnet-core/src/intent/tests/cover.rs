//! Which operations an allowance covers.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Kinds, allowance, cover, operation_at, operation_on, refund, refunds};
use crate::{Allowance, ArgumentKind, BindingMismatch, Other, Path, Uncovered};

#[test]
fn a_covered_operation_says_what_to_add_to_each_total() {
    let totals = cover(&refunds(), &refund(json!({ "order_id": "O-1", "amount_cents": 4200.0 })));
    assert_eq!(totals.unwrap(), [("amount_cents".to_owned(), 4200)].into());
    assert!(refunds().is_counted());
}

#[test]
fn an_argument_outside_its_binding_is_named_and_not_shown() {
    let refused = cover(&refunds(), &refund(json!({ "order_id": "O-secret", "amount_cents": 1 })));
    let refused = refused.unwrap_err();
    let expected =
        Uncovered::Argument { name: "order_id".into(), mismatch: BindingMismatch::NotEqual };
    assert_eq!(refused, expected);
    assert_eq!(refused.to_string(), "argument `order_id` is not the value the allowance names");
    assert!(!serde_json::to_string(&refused).unwrap().contains("secret"));
}

#[test]
fn another_action_path_or_resource_is_not_covered() {
    let call = json!({ "order_id": "O-1", "amount_cents": 1 });
    let other = operation_on(Path::Write, "desk.tool.issue_refunds", call.clone());
    assert_eq!(cover(&refunds(), &other), Err(Uncovered::Pattern));
    let other = operation_on(Path::Write, "disk.tool.issue_refund", call.clone());
    assert_eq!(cover(&refunds(), &other), Err(Uncovered::Pattern));
    let misplaced = operation_at("disk", Path::Write, "desk.tool.issue_refund", call.clone());
    assert_eq!(cover(&refunds(), &misplaced), Err(Uncovered::Pattern));
    for path in [Path::Read, Path::Admin] {
        let other = operation_on(path, "desk.tool.issue_refund", call.clone());
        assert_eq!(cover(&refunds(), &other), Err(Uncovered::Path(Path::Write)));
    }
}

#[test]
fn a_bound_argument_that_is_absent_is_missing() {
    let refused = cover(&refunds(), &refund(json!({ "amount_cents": 1 })));
    assert_eq!(refused, Err(Uncovered::Missing { name: "order_id".into() }));
    let sums = allowance(json!({
        "action": "desk.tool.issue_refund", "path": "write", "total": { "amount_cents": 10 }
    }));
    let refused = cover(&sums, &refund(json!({})));
    assert_eq!(refused, Err(Uncovered::Missing { name: "amount_cents".into() }));
}

#[test]
fn an_unnamed_argument_is_refused_on_write_and_admin_unless_any_is_said() {
    let call = json!({ "order_id": "O-1", "amount_cents": 1, "note": "x" });
    let refused = cover(&refunds(), &refund(call.clone()));
    assert_eq!(refused, Err(Uncovered::Unnamed { name: "note".into() }));
    let any = Allowance { other: Other::Any, ..refunds() };
    assert!(cover(&any, &refund(call)).is_ok());

    for (path, other, is_covered) in [
        ("read", None, true),
        ("read", Some("deny"), false),
        ("write", None, false),
        ("write", Some("any"), true),
        ("admin", None, false),
    ] {
        let mut written = json!({ "action": "desk.tool.x", "path": path });
        if let Some(other) = other {
            written["other"] = other.into();
        }
        let operation = operation_on(path.parse().unwrap(), "desk.tool.x", json!({ "a": 1 }));
        let answer = cover(&allowance(written), &operation);
        assert_eq!(answer.is_ok(), is_covered, "{path} {other:?}");
    }
}

#[test]
fn the_name_of_an_unnamed_argument_is_escaped_and_cut() {
    let name = format!("\u{202e}\n{}", "x".repeat(10_000));
    let refused = cover(&Allowance { other: Other::Deny, ..refunds() }, &{
        refund(json!({ "order_id": "O-1", "amount_cents": 1, name: 1 }))
    });
    let shown = refused.unwrap_err().to_string();
    assert!(shown.len() < 300 && !shown.contains(['\n', '\u{202e}']), "{shown}");
}

#[test]
fn a_total_needs_a_whole_amount_between_zero_and_its_ceiling() {
    let sums = allowance(json!({
        "action": "desk.tool.issue_refund", "path": "write", "total": { "amount": 100 }
    }));
    for amount in [json!(0), json!(100), json!(7.0)] {
        assert!(cover(&sums, &refund(json!({ "amount": amount }))).is_ok());
    }
    for amount in
        [json!(-1), json!(101), json!(0.5), json!("7"), json!(null), json!(1e300), json!([7])]
    {
        let refused = cover(&sums, &refund(json!({ "amount": amount })));
        assert!(matches!(refused, Err(Uncovered::Total { .. })), "{amount} {refused:?}");
    }
}

#[test]
fn what_may_only_be_delegated_covers_nothing() {
    let handed_on = Allowance { delegate_only: true, ..refunds() };
    let refused = cover(&handed_on, &refund(json!({ "order_id": "O-1", "amount_cents": 1 })));
    assert_eq!(refused, Err(Uncovered::DelegateOnly));
}

#[test]
fn an_exact_allowance_is_used_once_and_reads_back_however_large_its_arguments() {
    let operation = refund(json!({ "note": "n".repeat(100_000), "order_id": "O-1" }));
    let exact = Allowance::exact(&operation);
    assert_eq!((exact.uses, exact.other), (Some(1), Other::Deny));
    let again: Allowance = serde_json::from_slice(&serde_json::to_vec(&exact).unwrap()).unwrap();
    assert_eq!(again, exact);
    assert!(cover(&again, &operation).is_ok());
}

#[test]
fn an_exact_allowance_of_what_has_no_canonical_form_covers_nothing() {
    let operation = refund(json!({ "amount_cents": 9_007_199_254_740_993_i64 }));
    assert!(cover(&Allowance::exact(&operation), &operation).is_err());
    let operation = refund(json!({ "to": "a@b.c, d@e.f" }));
    let kinds: Kinds = [("to".to_owned(), ArgumentKind::Email)].into();
    assert!(Allowance::exact(&operation).covers(&operation, &kinds).is_err());
}

#[test]
fn an_exact_allowance_on_the_read_path_refuses_an_added_argument() {
    let read = |arguments| operation_on(Path::Read, "desk.tool.get", arguments);
    let exact = Allowance::exact(&read(json!({ "id": 1 })));
    assert!(cover(&exact, &read(json!({ "id": 1 }))).is_ok());
    assert!(cover(&exact, &read(json!({ "id": 1, "all": true }))).is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        (-10.0..10.0_f64).prop_map(Value::from),
        "[a-cA-C\u{e9}\u{301} ]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_arguments() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-f]", any_value(), 0..5)
        .prop_map(|members| members.into_iter().collect())
}

/// An independent canonical form: floats for numbers, NFC by the normalisation crate.
fn form(value: &Value) -> String {
    use unicode_normalization::UnicodeNormalization;
    match value {
        Value::Number(number) => format!("{:?}", number.as_f64().unwrap() + 0.0),
        Value::String(text) => format!("{:?}", text.nfc().collect::<String>()),
        Value::Array(items) => format!("{:?}", items.iter().map(form).collect::<Vec<_>>()),
        Value::Object(members) => {
            let sorted: std::collections::BTreeMap<_, _> =
                members.iter().map(|(name, value)| (name, form(value))).collect();
            format!("{sorted:?}")
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn an_exact_allowance_covers_its_operation_and_no_other(
        arguments in any_arguments(), other in any_arguments()
    ) {
        let operation = refund(Value::Object(arguments.clone()));
        let exact = Allowance::exact(&operation);
        prop_assert!(cover(&exact, &operation).is_ok());
        let is_same = form(&Value::Object(arguments)) == form(&Value::Object(other.clone()));
        prop_assert_eq!(cover(&exact, &refund(Value::Object(other))).is_ok(), is_same);
    }

    #[test]
    fn an_exact_allowance_refuses_each_change_addition_and_removal(
        arguments in any_arguments(), name in "[a-h]", value in any_value()
    ) {
        let exact = Allowance::exact(&refund(Value::Object(arguments.clone())));
        let mut changed = arguments.clone();
        changed.insert(name.clone(), value.clone());
        let is_same = arguments.get(&name).is_some_and(|old| form(old) == form(&value));
        prop_assert_eq!(cover(&exact, &refund(Value::Object(changed))).is_ok(), is_same);
        let mut shorter = arguments.clone();
        if shorter.remove(&name).is_some() {
            prop_assert!(cover(&exact, &refund(Value::Object(shorter))).is_err());
        }
    }
}
