//! The rules for child processes: as whom they run, and how many.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carnet_core::{AgentName, RunAs};

use super::UpstreamError;

/// The most child processes of one node.
const CHILDREN_MAX: usize = 512;
/// The most of them for one agent, whatever its tasks, sessions and copies.
const CHILDREN_PER_AGENT_MAX: usize = 256;

/// As whom an upstream's child process may run on this machine.
#[derive(Debug, Clone, Default)]
pub struct ChildRules {
    /// Whether one without a user of its own may run as Carnet itself: a trial on one machine.
    pub same_user: bool,
    /// Uids no child may run under, because they are somebody's: the operators'.
    pub uids_refused: BTreeSet<u32>,
}

/// The child processes of one node.
#[derive(Debug)]
pub(crate) struct Children {
    rules: ChildRules,
    running: Arc<Mutex<Running>>,
}

/// How many run, and for whom.
#[derive(Debug, Default)]
struct Running {
    all: usize,
    by_agent: HashMap<AgentName, usize>,
}

/// Room for one child process, held until it is dead.
#[derive(Debug)]
pub(super) struct ChildSeat {
    running: Arc<Mutex<Running>>,
    agent: Option<AgentName>,
}

impl Children {
    pub(crate) fn new(rules: ChildRules) -> Self {
        Self { rules, running: Arc::default() }
    }

    /// Room for one more child that runs as `run_as`, for `agent` or for a reviewer.
    pub(super) fn seat(
        &self,
        run_as: Option<RunAs>,
        agent: Option<&AgentName>,
    ) -> Result<ChildSeat, UpstreamError> {
        self.check(run_as)?;
        let mut running = lock(&self.running);
        running.take(agent).map_err(|problem| UpstreamError::NotSent(problem.into()))?;
        Ok(ChildSeat { running: Arc::clone(&self.running), agent: agent.cloned() })
    }

    /// Whether a child may run as `run_as`. The registry was asked when the resource was added; the
    /// configuration may have changed since.
    fn check(&self, run_as: Option<RunAs>) -> Result<(), UpstreamError> {
        let own = rustix::process::geteuid();
        let problem = match run_as {
            None if self.rules.same_user => return Ok(()),
            None => "it has no user of its own: add the resource again with `--run-as UID`".into(),
            Some(RunAs { uid: 0 | u32::MAX, .. } | RunAs { gid: 0 | u32::MAX, .. }) => {
                "root is no user of its own".into()
            }
            Some(RunAs { uid, .. })
                if self.rules.uids_refused.contains(&uid) || uid == own.as_raw() =>
            {
                format!("uid {uid} is an operator's or Carnet's own")
            }
            // A capability alone would stay with the child, or leave it Carnet's groups.
            Some(_) if !own.is_root() => {
                "only a Carnet that runs as root can start a child under another uid".into()
            }
            Some(_) => return Ok(()),
        };
        Err(UpstreamError::NotSent(format!("the process is not started: {problem}")))
    }
}

impl Running {
    fn take(&mut self, agent: Option<&AgentName>) -> Result<(), &'static str> {
        if self.all >= CHILDREN_MAX {
            return Err("as many child processes run as may: close tasks that need none");
        }
        if let Some(agent) = agent {
            let mine = self.by_agent.entry(agent.clone()).or_default();
            if *mine >= CHILDREN_PER_AGENT_MAX {
                return Err("as many child processes run for the agent as may: close its tasks");
            }
            *mine += 1;
        }
        self.all += 1;
        Ok(())
    }

    fn give_back(&mut self, agent: Option<&AgentName>) {
        self.all = self.all.saturating_sub(1);
        let Some(agent) = agent else { return };
        if let Some(mine) = self.by_agent.get_mut(agent) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                self.by_agent.remove(agent);
            }
        }
    }
}

impl Drop for ChildSeat {
    fn drop(&mut self) {
        lock(&self.running).give_back(self.agent.as_ref());
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_not_started_as_who_it_must_not_be() {
        let own = rustix::process::geteuid();
        let as_uid = |uid| Some(RunAs { uid, gid: 54_321 });
        for same_user in [false, true] {
            let rules = ChildRules { same_user, uids_refused: [54_320].into() };
            let children = Children::new(rules);
            assert_eq!(children.check(None).is_ok(), same_user);
            assert_eq!(children.check(as_uid(54_321)).is_ok(), own.is_root());
            for uid in [0, u32::MAX, 54_320, own.as_raw()] {
                assert!(children.check(as_uid(uid)).is_err(), "{uid}");
            }
            assert!(children.check(Some(RunAs { uid: 54_321, gid: 0 })).is_err());
        }
    }

    #[test]
    fn no_more_children_are_started_than_there_are_seats_for() {
        let rules = ChildRules { same_user: true, ..ChildRules::default() };
        let children = Children::new(rules);
        let [one, two, three] = ["one", "two", "three"].map(|name| name.parse().unwrap());
        let take = |agent| children.seat(None, Some(agent));
        let mut seats: Vec<_> = (0..CHILDREN_PER_AGENT_MAX).map(|_| take(&one).unwrap()).collect();
        assert!(take(&one).unwrap_err().is_unsent(), "one agent does not take the room of all");
        let others: Vec<_> = (seats.len()..CHILDREN_MAX).map(|_| take(&two).unwrap()).collect();
        assert!(take(&three).is_err() && children.seat(None, None).is_err());
        seats.pop();
        assert!(take(&two).is_err());
        seats.push(take(&one).unwrap());
        drop((seats, others));
        assert!(children.running.lock().unwrap().by_agent.is_empty());
        assert!(children.seat(None, None).is_ok());
    }
}
