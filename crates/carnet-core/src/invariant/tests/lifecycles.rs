//! What is over stays over.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::fixture;
use crate::*;

const AT: Timestamp = Timestamp::from_s(1_000);

fn approved(n: u128) -> Approved {
    Approved { approval: ApprovalId::from_bits(n), by: vec![], instance: None }
}

fn grant_events() -> Vec<GrantEvent> {
    vec![
        GrantEvent::Activate,
        GrantEvent::Ask(ApprovalId::from_bits(1)),
        GrantEvent::Approve(approved(1)),
        GrantEvent::Approve(approved(2)),
        GrantEvent::Deny,
        GrantEvent::Withdraw,
        GrantEvent::Reserve(Amounts::default()),
        GrantEvent::Reserve(Amounts::default()),
        GrantEvent::Release(Amounts::default()),
        GrantEvent::Revoke,
        GrantEvent::Expire,
    ]
}

fn is_over(state: &GrantState) -> bool {
    use GrantState as S;
    matches!(state, S::Expired | S::Revoked | S::Withdrawn | S::Denied)
}

fn task_events() -> Vec<TaskEvent> {
    vec![
        TaskEvent::Open,
        TaskEvent::Suspend,
        TaskEvent::Resume,
        TaskEvent::Close(Closure::Completed),
        TaskEvent::Close(Closure::Revoked),
        TaskEvent::Drain,
        TaskEvent::ReserveCall,
        TaskEvent::ReleaseCall,
    ]
}

fn approval_events() -> Vec<ApprovalEvent> {
    let answer = |by: &str, yes| ApprovalEvent::Answer { by: by.parse().unwrap(), yes };
    vec![
        answer("bo", true),
        answer("cy", true),
        answer("di", true),
        answer("bo", false),
        ApprovalEvent::Expire,
        ApprovalEvent::Cancel,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_grant_that_is_over_stays_over(
        events in proptest::collection::vec(select(grant_events()), 0..24),
    ) {
        let once = fixture::allowance(json!({
            "action": "desk.tool.get_ticket", "path": "read", "uses": 2
        }));
        let mut grant = fixture::grant("grant_1", once);
        grant.state = GrantState::Requested;
        for event in events {
            let before = grant.clone();
            let Ok((after, effects)) = grant.clone().apply(event.clone(), AT) else { continue };
            if is_over(&before.state) {
                prop_assert_eq!(&after.state, &before.state);
            }
            // It becomes live by its first activation, a matching yes, or a use given back.
            if after.state == GrantState::Active && before.state != GrantState::Active {
                let is_due = match (&before.state, &event) {
                    (GrantState::Requested, GrantEvent::Activate) => true,
                    (GrantState::Pending(asked), GrantEvent::Approve(yes)) => *asked == yes.approval,
                    (GrantState::Exhausted, GrantEvent::Release(_)) => true,
                    _ => false,
                };
                prop_assert!(is_due, "{:?} by {event:?}", before.state);
            }
            let narrows = |effect: &Effect| matches!(effect, Effect::Append { narrows: true, .. });
            if effects.iter().any(narrows) {
                prop_assert!(is_over(&after.state), "{:?} is called narrowing", after.state);
            }
            grant = after;
        }
    }

    #[test]
    fn a_task_that_is_closed_stays_closed(
        events in proptest::collection::vec(select(task_events()), 0..24),
    ) {
        let mut task = fixture::task("task_1");
        (task.state, task.calls_max) = (TaskState::Proposed, Some(2));
        for event in events {
            let before = task.clone();
            let Ok((after, effects)) = task.clone().apply(event, AT) else { continue };
            match before.state {
                TaskState::Closed { .. } => prop_assert_eq!(&after.state, &before.state),
                TaskState::Closing { .. } => prop_assert!(after.is_over()),
                _ => {}
            }
            if after.is_over() && !before.is_over() {
                let revokes = Effect::Revoke(after.id.clone());
                prop_assert!(effects.contains(&revokes), "it closes and revokes nothing");
            }
            prop_assert!(after.calls_spent <= 2);
            task = after;
        }
    }

    #[test]
    fn an_answered_question_stays_answered(
        threshold in 0_u32..4, events in proptest::collection::vec(select(approval_events()), 0..10),
    ) {
        let mut approval = fixture::approval(&["team:finance"], threshold);
        for event in events {
            let before = approval.clone();
            let Ok((after, _)) = approval.clone().apply(event, AT) else { continue };
            prop_assert_eq!(before.state, ApprovalState::Asked, "it moved again");
            if after.state == ApprovalState::Approved {
                prop_assert!(after.approvers().len() >= threshold.max(1) as usize);
                prop_assert!(after.answers.iter().all(|answer| answer.yes));
            }
            approval = after;
        }
    }

    #[test]
    fn a_lifted_lock_stays_lifted(
        events in proptest::collection::vec(select(vec![LockEvent::Acknowledge, LockEvent::Lift]), 0..8),
    ) {
        let mut lock = Lock {
            id: LockId::from_bits(1),
            target: LockTarget::Everything,
            set_by: "bo".parse().unwrap(),
            set_at: AT,
            reason: "drill".into(),
            state: LockState::Set,
        };
        for event in events {
            let before = lock.state;
            let Ok((after, _)) = lock.clone().apply(event, AT) else { continue };
            prop_assert!(before != LockState::Lifted);
            prop_assert_eq!(after.is_in_force(), event != LockEvent::Lift);
            lock = after;
        }
    }
}
