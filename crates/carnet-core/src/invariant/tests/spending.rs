//! Uses and totals are never overspent, whatever the order of reserving, releasing and settling.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::super::{check_grant, check_snapshot};
use crate::fixture::{self, NOW};
use crate::*;

const USES: u64 = 3;
const TOTAL: i64 = 100;

#[derive(Debug, Clone)]
enum Event {
    /// Attempts a refund of this amount; what is permitted is reserved.
    Attempt(i64),
    /// Gives back what was reserved this many reservations ago.
    Release(usize),
    /// Keeps what was reserved this many reservations ago.
    Settle(usize),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0_i64..60).prop_map(Event::Attempt),
        1 => (0_usize..3).prop_map(Event::Release),
        1 => (0_usize..3).prop_map(Event::Settle),
    ]
}

/// A refund allowance approved at each use, and approved uses of it for every amount.
fn grants(amounts: &[i64]) -> Vec<Grant> {
    let base = fixture::allowance(json!({
        "action": "desk.tool.issue_refund", "path": "write", "approve": "on_use", "uses": USES,
        "where": { "order_id": { "equals": "O-1" } }, "total": { "amount_cents": TOTAL },
    }));
    let mut grants = vec![fixture::grant("grant_base", base)];
    for (n, amount) in amounts.iter().enumerate() {
        let mut exact =
            fixture::grant(&format!("grant_exact{n}"), Allowance::exact(&refund(*amount)));
        exact.draws_on = Some("grant_base".parse().unwrap());
        exact.approved = Some(Approved {
            approval: ApprovalId::from_bits(n as u128),
            by: vec!["bo".parse().unwrap()],
            instance: Some(InstanceId::from_bits(1)),
        });
        grants.push(exact);
    }
    grants
}

fn refund(amount: i64) -> Operation {
    fixture::operation("issue_refund", json!({ "order_id": "O-1", "amount_cents": amount }))
}

fn set(snapshot: &mut Snapshot, charge: &Charge, event: GrantEvent) -> Result<(), TransitionError> {
    let mut view = (**snapshot.task(&"task_1".parse().unwrap()).unwrap()).clone();
    let grant = view.grants.iter_mut().find(|grant| grant.id == charge.grant).unwrap();
    *grant = grant.clone().apply(event, NOW.wall)?.0;
    Arc::make_mut(&mut snapshot.tasks).insert(view.task.id.clone(), Arc::new(view));
    Ok(())
}

fn held(snapshot: &Snapshot) -> BTreeMap<GrantId, Grant> {
    let view = snapshot.task(&"task_1".parse().unwrap()).unwrap();
    view.grants.iter().map(|grant| (grant.id.clone(), grant.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn uses_and_totals_are_never_overspent(
        amounts in proptest::collection::vec(0_i64..60, 1..6),
        events in proptest::collection::vec(events(), 1..40),
    ) {
        let mut snapshot = fixture::snapshot(grants(&amounts));
        let (mut open, mut kept) = (Vec::<(i64, Vec<Charge>)>::new(), Vec::<i64>::new());
        let base: GrantId = "grant_base".parse().unwrap();
        for event in events {
            match event {
                Event::Attempt(amount) => {
                    let caller = fixture::caller(Path::Write);
                    let decision =
                        assess(&snapshot, &fixture::permitting(), &refund(amount), &caller, NOW);
                    if decision.kind == DecisionKind::Permit {
                        let charges = decision.cover.unwrap().charges;
                        prop_assert!(charges.iter().any(|charge| charge.grant == base));
                        for charge in &charges {
                            let event = GrantEvent::Reserve(charge.amounts.clone());
                            set(&mut snapshot, charge, event).unwrap();
                        }
                        open.push((amount, charges));
                    }
                }
                Event::Release(back) if back < open.len() => {
                    let (_, charges) = open.remove(open.len() - 1 - back);
                    for charge in &charges {
                        let event = GrantEvent::Release(charge.amounts.clone());
                        set(&mut snapshot, charge, event).unwrap();
                    }
                }
                Event::Settle(back) if back < open.len() => {
                    kept.push(open.remove(open.len() - 1 - back).0);
                }
                Event::Release(_) | Event::Settle(_) => {}
            }
            check_snapshot(&snapshot).unwrap();
            let spent: i64 = kept.iter().chain(open.iter().map(|(amount, _)| amount)).sum();
            let uses = kept.len() + open.len();
            let base = &held(&snapshot)[&base];
            // Exactly what was reserved and not given back, and never more than was granted.
            prop_assert_eq!(base.uses_spent, uses as u64);
            prop_assert_eq!(base.totals_spent.get("amount_cents").copied().unwrap_or(0), spent);
            prop_assert!(base.uses_spent <= USES && spent <= TOTAL);
        }
    }

    #[test]
    fn room_is_there_exactly_where_a_reservation_succeeds(
        spent in proptest::collection::vec(0_i64..60, 0..4), amount in -5_i64..120,
    ) {
        let mut grant = grants(&[]).remove(0);
        for amount in spent {
            let reserve = GrantEvent::Reserve(Amounts { totals: [("amount_cents".into(), amount)].into() });
            if let Ok((next, _)) = grant.clone().apply(reserve, NOW.wall) {
                grant = next;
            }
        }
        check_grant(&grant).unwrap();
        let amounts = Amounts { totals: [("amount_cents".into(), amount)].into() };
        let room = grant.has_room_for(&amounts);
        let reserved = grant.clone().apply(GrantEvent::Reserve(amounts.clone()), NOW.wall);
        prop_assert_eq!(room, reserved.is_ok());
        if let Ok((reserved, _)) = reserved {
            check_grant(&reserved).unwrap();
            let (released, _) = reserved.apply(GrantEvent::Release(amounts), NOW.wall).unwrap();
            prop_assert_eq!(released.uses_spent, grant.uses_spent);
            prop_assert_eq!(released.state, grant.state);
        }
    }
}

#[test]
fn what_was_never_reserved_cannot_be_released() {
    let grant = grants(&[]).remove(0);
    let release = GrantEvent::Release(Amounts { totals: [("amount_cents".into(), 1)].into() });
    assert!(grant.apply(release, NOW.wall).is_err());
}

#[test]
fn a_lock_on_the_grant_drawn_on_stops_its_approved_uses() {
    let mut snapshot = fixture::snapshot(grants(&[10]));
    let caller = fixture::caller(Path::Write);
    let permit = |snapshot: &Snapshot| {
        let attempt = Attempt { operation: refund(10), original: "{}".into() };
        decide(snapshot, &fixture::permitting(), attempt, caller.clone(), NOW)
    };
    let Decided::Permit(permitted) = permit(&snapshot) else { panic!("not permitted") };
    let lock = Lock {
        id: LockId::from_bits(1),
        target: LockTarget::Grant("grant_base".parse().unwrap()),
        set_by: "bo".parse().unwrap(),
        set_at: NOW.wall,
        reason: "drill".into(),
        state: LockState::Set,
    };
    Arc::make_mut(&mut snapshot.locks).insert(lock.id.clone(), Arc::new(lock));
    assert!(matches!(permit(&snapshot), Decided::Deny(_)));
    assert_eq!(permitted.recheck(&snapshot, NOW), Err(Reason::NotCovered));
    // Taken back it is stopped at the door too.
    let mut revoked = fixture::snapshot(grants(&[10]));
    let charge = Charge { grant: "grant_base".parse().unwrap(), amounts: Amounts::default() };
    set(&mut revoked, &charge, GrantEvent::Revoke).unwrap();
    assert_eq!(permitted.recheck(&revoked, NOW), Err(Reason::NotCovered));
}

#[test]
fn an_approved_use_is_for_the_running_copy_that_asked() {
    let mut all = grants(&[10]);
    all[1].approved.as_mut().unwrap().instance = Some(InstanceId::from_bits(2));
    let snapshot = fixture::snapshot(all);
    let caller = fixture::caller(Path::Write);
    let decision = assess(&snapshot, &fixture::permitting(), &refund(10), &caller, NOW);
    assert_eq!(decision.kind, DecisionKind::Ask);
}
