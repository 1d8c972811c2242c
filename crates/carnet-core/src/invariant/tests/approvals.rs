//! An answer is to exactly one question, and yields no more than it.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::fixture;
use crate::*;

fn arguments() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        (0_i64..3).prop_map(Value::from),
        (0_i64..3).prop_map(|n| Value::from(n as f64)),
        "[ab]{0,2}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        proptest::collection::vec(0_i64..2, 0..3).prop_map(Value::from),
        (0_i64..2).prop_map(|n| json!({ "n": n })),
    ];
    proptest::collection::btree_map(select(&["a", "b", "order_id"][..]), value, 0..3).prop_map(
        |members| Value::Object(members.into_iter().map(|(k, v)| (k.into(), v)).collect()),
    )
}

fn operations() -> impl Strategy<Value = Operation> {
    (select(&["get_ticket", "issue_refund"][..]), arguments())
        .prop_map(|(name, arguments)| fixture::operation(name, arguments))
}

/// Every way to change a question.
fn changes() -> Vec<fn(&mut Question)> {
    fn of(question: &mut Question, change: impl Fn(&mut Value)) {
        let mut value = serde_json::to_value(&question.of).unwrap();
        change(&mut value["use"]);
        question.of = serde_json::from_value(value).unwrap();
    }
    vec![
        |q| q.task = "task_2".parse().unwrap(),
        |q| q.instance = Some(InstanceId::from_bits(2)),
        |q| q.instance = None,
        |q| q.nonce = "1".repeat(32),
        |q| q.expires = q.expires.plus_s(1),
        |q| of(q, |asked| asked["action"] = json!("desk.tool.issue_refunds")),
        |q| of(q, |asked| asked["resource"] = json!("desk2")),
        |q| of(q, |asked| asked["path"] = json!("admin")),
        |q| of(q, |asked| asked["effect"]["reversible"] = json!(true)),
        |q| of(q, |asked| asked["effect"]["reach"] = json!("egress")),
        |q| of(q, |asked| asked["pin"] = json!(Digest::of(b"another definition"))),
        |q| of(q, |asked| asked["arguments"]["amount_cents"] = json!(501)),
        |q| of(q, |asked| asked["arguments"]["more"] = Value::Null),
        |q| of(q, |asked| asked["draws_on"] = json!("grant_7")),
        |q| {
            let allowance = fixture::allowance(json!({ "action": "desk.tool.x", "path": "read" }));
            q.of = Asked::Allowance {
                grant: "grant_1".parse().unwrap(),
                allowance: Box::new(allowance),
            };
        },
    ]
}

#[test]
fn any_change_of_the_question_is_another_question() {
    let question = fixture::question(500);
    let mut digests = vec![question.digest().unwrap()];
    for change in changes() {
        let mut changed = question.clone();
        change(&mut changed);
        assert_ne!(changed, question);
        digests.push(changed.digest().unwrap());
    }
    let all = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all, "two different questions have one digest");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_yes_covers_exactly_what_was_asked(asked in operations(), tried in operations()) {
        let yes = Allowance::exact(&asked);
        let same = asked.action() == tried.action()
            && asked.path() == tried.path()
            && asked.arguments_digest() == tried.arguments_digest();
        prop_assert_eq!(yes.covers(&tried, &Default::default()).is_ok(), same, "{:?} {:?}", asked, tried);
        prop_assert_eq!(yes.uses, Some(1));
        prop_assert!(!yes.delegate_only && yes.total.is_empty() && yes.other == Other::Deny);
    }

    #[test]
    fn a_question_about_other_arguments_is_another_question(one in arguments(), two in arguments()) {
        let about = |arguments: &Value| {
            let mut question = fixture::question(500);
            let mut of = serde_json::to_value(&question.of).unwrap();
            of["use"]["arguments"] = arguments.clone();
            question.of = serde_json::from_value(of).unwrap();
            question.digest().unwrap()
        };
        // Canonical JSON writes 1.0 as 1: the same arguments.
        let is_same = Digest::of_json(&one).unwrap() == Digest::of_json(&two).unwrap();
        prop_assert_eq!(about(&one) == about(&two), is_same);
    }
}
