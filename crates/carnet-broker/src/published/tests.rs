use std::collections::BTreeMap;

use carnet_core::{Lock, LockId, LockState, LockTarget, Timestamp, User, UserName};
use carnet_store::Kind;
use proptest::prelude::*;

use super::*;
use crate::item::Item;

/// One commit on a few locks and users: locks are set by what narrows, users known by what widens.
#[derive(Debug, Clone)]
enum Step {
    Widen { user: u8, team: u8, recorded: bool },
    Forget { user: u8 },
    Drain { places: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u8..3, 0_u8..4, any::<bool>())
            .prop_map(|(user, team, recorded)| Step::Widen { user, team, recorded }),
        2 => (0_u8..3).prop_map(|user| Step::Forget { user }),
        2 => (0_u64..3).prop_map(|places| Step::Drain { places }),
    ];
    proptest::collection::vec(step, 0..40)
}

fn user(n: u8, team: u8) -> Touched {
    let name: UserName = format!("user{n}").parse().unwrap();
    let item = Item::User(User { name, teams: [format!("team{team}")].into(), logins: Vec::new() });
    (item.key(), Some(item))
}

fn gone(n: u8) -> Touched {
    (Key::new(Kind::Operator, format!("user{n}")), None)
}

fn teams(state: &State) -> BTreeMap<String, String> {
    let users = state.snapshot.users.values();
    users.map(|user| (user.name.to_string(), user.teams.iter().cloned().collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// What narrows is in force at once, what widens only when it is drained, nothing comes back,
    /// and when all is drained the state in force is the latest.
    #[test]
    fn the_state_in_force_is_never_wider_than_what_is_recorded(steps in steps()) {
        let (mut published, mut latest) = (Published::default(), State::default());
        let (mut revision, mut last_seq, mut drained) = (0, 0, 0);
        for step in steps {
            revision += 1;
            let at = Revision::new(revision);
            match step {
                Step::Widen { user: n, team, recorded } => {
                    last_seq += u64::from(recorded);
                    let touched = vec![user(n, team)];
                    latest.apply(&touched[0].0, touched[0].1.clone(), at);
                    published.take_in(Taken {
                        revision: at, touched, narrows: false, is_recorded: recorded, last_seq,
                    });
                    if recorded {
                        let entered = published.state.revision_of(&user(n, team).0) == Some(at);
                        prop_assert!(!entered, "a widening is in force before its leaf");
                    }
                }
                Step::Forget { user: n } => {
                    let touched = vec![gone(n)];
                    latest.apply(&touched[0].0, None, at);
                    published.take_in(Taken {
                        revision: at, touched, narrows: true, is_recorded: false, last_seq,
                    });
                    let name = format!("user{n}");
                    prop_assert!(!teams(&published.state).contains_key(&name));
                }
                Step::Drain { places } => {
                    drained = (drained + places).min(last_seq);
                    published.advance(drained);
                }
            }
            // Nobody the latest state does not know is in force.
            for name in teams(&published.state).keys() {
                prop_assert!(teams(&latest).contains_key(name));
            }
        }
        published.advance(last_seq);
        prop_assert_eq!(teams(&published.state), teams(&latest));
        prop_assert_eq!(published.waiting(), 0);
    }
}

fn lock() -> Touched {
    let lock = Lock {
        id: LockId::from_bits(1),
        target: LockTarget::Everything,
        set_by: "ana".parse().unwrap(),
        set_at: Timestamp::default(),
        reason: "drill".into(),
        state: LockState::Set,
    };
    let item = Item::Lock(lock);
    (item.key(), Some(item))
}

#[test]
fn what_is_held_stays_whatever_the_store_says_until_it_is_written() {
    let mut state = State::default();
    let (key, item) = user(1, 1);
    state.apply(&key, item, Revision::new(4));
    state.hold(&[lock(), gone(1)]);
    assert!(state.is_holding());
    // A commit that was under way comes round: the user is not back, its revision is known.
    let (key, item) = user(1, 2);
    state.apply(&key, item, Revision::new(5));
    assert!(state.snapshot.users.is_empty());
    assert_eq!(state.revision_of(&key), Some(Revision::new(5)));
    assert_eq!(state.revision_of(&lock().0), None);
    state.release(&[lock(), gone(1)], Revision::new(6), &[]);
    assert!(!state.is_holding());
    assert_eq!(state.revision_of(&lock().0), Some(Revision::new(6)));
    assert_eq!(state.revision_of(&key), None);
    assert_eq!(state.snapshot.locks.len(), 1);
}

#[test]
fn nothing_is_fresh_while_a_brake_is_held_or_a_loaded_record_is_not_in_the_ledger() {
    let mut published = Published::new(State::default());
    let later = Monotonic::from_us(5);
    assert!(!published.freshen(later));
    assert!(published.make_whole() && published.freshen(later));
    published.hold(&[lock()]);
    assert_eq!(published.state.snapshot.fresh_until, Monotonic::default());
    assert!(!published.freshen(later));
    published.state.release(&[lock()], Revision::new(1), &[]);
    assert!(published.freshen(later));
}
