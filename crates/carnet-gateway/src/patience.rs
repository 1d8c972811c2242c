//! Patience: how many refusals one agent is given. Each is recorded, so that whoever provokes them
//! without end would fill the disk of the ledger, and with it stop everybody.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use carnet_core::{AgentName, Caller, Monotonic, Reason};

/// How many refusals an agent is given at once.
const REFUSALS_MAX: u64 = 200;
/// After how long it is given another: ten a second.
const ANOTHER_AFTER_US: u64 = 100_000;
/// How often it is recorded that an agent was turned away.
const TOLD_EVERY_US: u64 = 1_000_000;
/// When an agent that was turned away may look again.
pub(crate) const RETRY_AFTER_S: u64 = 1;

/// What each agent wore out of the patience with it.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    by_agent: Mutex<HashMap<AgentName, Wear>>,
}

#[derive(Debug, Default)]
struct Wear {
    /// When all of it will have come back.
    until_us: u64,
    /// Who was turned away last, and how many requests of the agent since it was recorded.
    turned_away: Option<(Caller, u64)>,
    told_us: Option<u64>,
}

impl Patience {
    /// One refusal more, where it is the agent that brought it about.
    pub(crate) fn wear(&self, agent: &AgentName, reason: Reason, now: Monotonic) {
        if !is_of_the_agents_making(reason) {
            return;
        }
        let mut by_agent = self.lock();
        let wear = by_agent.entry(agent.clone()).or_default();
        let most = now.us().saturating_add(REFUSALS_MAX * ANOTHER_AFTER_US);
        wear.until_us = wear.until_us.max(now.us()).saturating_add(ANOTHER_AFTER_US).min(most);
    }

    /// Whether `caller` is listened to. One that is not is counted.
    pub(crate) fn is_left_for(&self, caller: &Caller, now: Monotonic) -> bool {
        let mut by_agent = self.lock();
        let Some(wear) = by_agent.get_mut(&caller.agent) else { return true };
        if wear.until_us.saturating_sub(now.us()) <= (REFUSALS_MAX - 1) * ANOTHER_AFTER_US {
            return true;
        }
        let before = wear.turned_away.as_ref().map_or(0, |(_, count)| *count);
        wear.turned_away = Some((caller.clone(), before.saturating_add(1)));
        false
    }

    /// Who was turned away and how often, where it is time to record it. Forgets who is patient
    /// again.
    pub(crate) fn take_due(&self, now: Monotonic) -> Vec<(Caller, u64)> {
        let mut by_agent = self.lock();
        by_agent.retain(|_, wear| wear.until_us > now.us() || wear.turned_away.is_some());
        by_agent.values_mut().filter_map(|wear| wear.take_due(now)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AgentName, Wear>> {
        self.by_agent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not where Carnet or the server could not do its part.
const fn is_of_the_agents_making(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::SnapshotStale
            | Reason::LedgerUnavailable
            | Reason::ControlUnavailable
            | Reason::ReservationRefused
            | Reason::UpstreamFailed
            | Reason::OutcomeUnknown
            | Reason::AnswerWithheld
    )
}

impl Wear {
    fn take_due(&mut self, now: Monotonic) -> Option<(Caller, u64)> {
        let told = self.told_us.is_some_and(|told| now.us() < told.saturating_add(TOLD_EVERY_US));
        let due = if told { None } else { self.turned_away.take() };
        if due.is_some() {
            self.told_us = Some(now.us());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use carnet_core::{Path, Timestamp};

    use super::*;

    fn caller(agent: &str) -> Caller {
        Caller {
            agent: agent.parse().unwrap(),
            instance: carnet_core::InstanceId::from_bits(1),
            task: carnet_core::TaskId::from_bits(1),
            path: Path::Read,
            resource: "desk".parse().unwrap(),
            token: "tok".into(),
            key: String::new(),
            expires: Timestamp::from_s(1),
            thumbprint: None,
        }
    }

    const START: Monotonic = Monotonic::from_us(7);

    fn after_us(us: u64) -> Monotonic {
        Monotonic::from_us(START.us() + us)
    }

    fn worn_out() -> (Patience, Caller) {
        let (patience, one) = (Patience::default(), caller("one"));
        for _ in 0..REFUSALS_MAX {
            assert!(patience.is_left_for(&one, START));
            patience.wear(&one.agent, Reason::NotCovered, START);
        }
        (patience, one)
    }

    #[test]
    fn one_agent_wears_out_the_patience_with_it_and_with_nobody_else() {
        let (patience, one) = worn_out();
        assert!(!patience.is_left_for(&one, START));
        assert!(patience.is_left_for(&caller("two"), START));
    }

    #[test]
    fn patience_comes_back_at_its_rate_and_never_beyond_its_bound() {
        let (patience, one) = worn_out();
        let wear_at = |us| patience.wear(&one.agent, Reason::NotCovered, after_us(us));
        // What was under way already does not put it off any further.
        (0..1_000).for_each(|_| wear_at(0));
        assert!(!patience.is_left_for(&one, after_us(ANOTHER_AFTER_US - 1)));
        assert!(patience.is_left_for(&one, after_us(ANOTHER_AFTER_US)));
        wear_at(ANOTHER_AFTER_US);
        assert!(!patience.is_left_for(&one, after_us(2 * ANOTHER_AFTER_US - 1)));
        assert!(patience.is_left_for(&one, after_us(2 * ANOTHER_AFTER_US)));
        let much_later = 1_000 * REFUSALS_MAX * ANOTHER_AFTER_US;
        (0..REFUSALS_MAX).for_each(|_| wear_at(much_later));
        assert!(!patience.is_left_for(&one, after_us(much_later)));
    }

    #[test]
    fn what_carnet_or_the_server_could_not_do_is_not_the_agents_making() {
        let (patience, one) = (Patience::default(), caller("one"));
        for reason in [Reason::UpstreamFailed, Reason::LedgerUnavailable, Reason::SnapshotStale] {
            (0..1_000).for_each(|_| patience.wear(&one.agent, reason, START));
        }
        assert!(patience.is_left_for(&one, START));
    }

    #[test]
    fn everyone_turned_away_is_counted_and_told_of_once_a_second() {
        let (patience, one) = worn_out();
        let turn_away =
            |times| (0..times).for_each(|_| assert!(!patience.is_left_for(&one, START)));
        let due = |us| patience.take_due(after_us(us)).into_iter().map(|(_, count)| count);
        assert_eq!(due(0).next(), None);
        turn_away(3);
        assert_eq!(due(0).next(), Some(3));
        turn_away(5);
        assert_eq!(due(TOLD_EVERY_US - 1).next(), None);
        assert_eq!(due(TOLD_EVERY_US).next(), Some(5));
        assert_eq!(due(2 * TOLD_EVERY_US).next(), None);
        assert_eq!(due(2 * REFUSALS_MAX * ANOTHER_AFTER_US).next(), None);
        assert!(patience.lock().is_empty());
    }
}
