//! The rules for child processes: as whom they run, and how many.

use std::collections::BTreeSet;
use std::sync::Arc;

use carnet_core::RunAs;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::UpstreamError;

/// The most child processes of one node.
const CHILDREN_MAX: usize = 512;

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
    seats: Arc<Semaphore>,
}

/// Room for one child process, held until it is dead.
#[derive(Debug)]
pub(super) struct ChildSeat(
    #[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit,
);

impl Children {
    pub(crate) fn new(rules: ChildRules) -> Self {
        Self { rules, seats: Arc::new(Semaphore::new(CHILDREN_MAX)) }
    }

    /// Room for one more child, which will run as `run_as`.
    pub(super) fn seat(&self, run_as: Option<RunAs>) -> Result<ChildSeat, UpstreamError> {
        self.check(run_as)?;
        let full = |_| {
            UpstreamError::NotSent(format!(
                "{CHILDREN_MAX} child processes run, and no more may: close tasks that need none"
            ))
        };
        Arc::clone(&self.seats).try_acquire_owned().map(ChildSeat).map_err(full)
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
        let mut seats: Vec<_> = (0..CHILDREN_MAX).map(|_| children.seat(None).unwrap()).collect();
        assert!(children.seat(None).unwrap_err().is_unsent());
        seats.pop();
        assert!(children.seat(None).is_ok());
    }
}
