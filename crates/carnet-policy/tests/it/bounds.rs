//! Texts as deep and as long as the bounds allow stay within an ordinary thread's stack.

use carnet_core::Policy;
use carnet_policy::{CedarPolicy, PolicySource};

/// What a worker thread has by default.
const STACK_BYTES: usize = 2 * 1024 * 1024;

fn load(condition: &str) -> Result<CedarPolicy, String> {
    let text = format!(
        "@id(\"x\") permit(principal is Carnet::Agent, action in Carnet::Action::\"call\", resource) when {{ {condition} }};"
    );
    let files = [("permit/a.cedar".to_owned(), text)].into();
    CedarPolicy::load(&PolicySource::from_files(files).unwrap()).map_err(|e| e.to_string())
}

fn document() -> carnet_core::Document {
    let folder = "/../../conformance/policy/decide/001-small-refund/case.json";
    let text = std::fs::read_to_string(format!("{}{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let case: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(case["document"].clone()).unwrap()
}

#[test]
fn the_deepest_and_longest_conditions_do_not_exhaust_a_stack() {
    let fact = "context.task.marked";
    let conditions = [
        vec![fact; 100].join(" && "),
        vec![fact; 100].join(" || "),
        format!("{}{fact}{}", "(".repeat(28), ")".repeat(28)),
        format!("{}{fact}{}", "[".repeat(14), "].contains(true)".repeat(14)),
        format!("{}true", format!("if {fact} then true else ").repeat(28)),
        format!("context.task.depth == 0{}", " + 1".repeat(480)),
        format!("context{} == 1", ".task".repeat(480)),
        format!("{}{fact}{}", "{\"a\": ".repeat(28), "}.a".repeat(28)),
        format!("{}{fact}", "!!!! ".repeat(100)),
    ];
    for condition in conditions {
        let worker = std::thread::Builder::new().stack_size(STACK_BYTES);
        let worker = worker.spawn(move || {
            if let Ok(policy) = load(&condition) {
                let document = document();
                let shown = policy.explain(&document);
                assert_eq!(shown.verdict, policy.judge(&document));
            }
        });
        worker.unwrap().join().unwrap();
    }
}

#[test]
fn a_chain_within_the_bounds_is_evaluated_not_given_up() {
    let policy = load(&format!("context.task.depth + 400 == 0{}", " + 1".repeat(400))).unwrap();
    let verdict = policy.judge(&document());
    assert_eq!(verdict.errors, []);
    assert_eq!(verdict.determining.len(), 1);
}
