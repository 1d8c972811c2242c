//! The invariants, under random inputs.

mod approvals;
mod authority;
mod lifecycles;
mod lineage;
mod spending;

use serde_json::json;

use super::*;
use crate::fixture;

#[test]
fn a_breach_names_its_invariant() {
    let mut grant = fixture::grant(
        "grant_1",
        fixture::allowance(json!({
            "action": "desk.tool.issue_refund", "path": "write", "uses": 1,
            "total": { "amount_cents": 10 }
        })),
    );
    assert_eq!(check_grant(&grant), Ok(()));
    grant.uses_spent = 2;
    assert_eq!(check_grant(&grant).unwrap_err().name, GRANT_USES);
    grant.uses_spent = 1;
    grant.totals_spent.insert("amount_cents".into(), 11);
    assert_eq!(check_grant(&grant).unwrap_err().name, GRANT_TOTALS);
    grant.totals_spent.clear();
    let mut snapshot = fixture::snapshot(vec![grant.clone()]);
    assert_eq!(check_snapshot(&snapshot), Ok(()));
    grant.task = "task_2".parse().unwrap();
    fixture::put_task(&mut snapshot, fixture::task("task_1"), vec![grant.clone()]);
    assert_eq!(check_snapshot(&snapshot).unwrap_err().name, GRANT_TASK);
    grant.task = "task_1".parse().unwrap();
    grant.expires = grant.expires.plus_s(1);
    fixture::put_task(&mut snapshot, fixture::task("task_1"), vec![grant]);
    assert_eq!(check_snapshot(&snapshot).unwrap_err().name, GRANT_EXPIRES);
    let mut task = fixture::task("task_1");
    (task.calls_max, task.calls_spent) = (Some(1), 2);
    fixture::put_task(&mut snapshot, task, vec![]);
    assert_eq!(check_snapshot(&snapshot).unwrap_err().name, TASK_CALLS);
}
