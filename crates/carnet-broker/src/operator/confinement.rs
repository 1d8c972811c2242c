//! As whom a child process that speaks MCP may run. It is somebody else's program: under Carnet's
//! own uid it could read Carnet's keys, under an operator's it could be that operator.

use std::collections::BTreeSet;

use carnet_core::{Resource, Transport};

use crate::error::BrokerError;

/// What is known of uids here.
#[derive(Debug)]
pub(crate) struct Confinement {
    pub(crate) operator_uids: BTreeSet<u32>,
    pub(crate) same_user: bool,
    pub(crate) own_uid: u32,
}

impl Confinement {
    /// Refuses a resource whose child process would run as somebody it must not be.
    pub(crate) fn check(&self, resource: &Resource) -> Result<(), BrokerError> {
        let Transport::Stdio { run_as, .. } = &resource.upstream.transport else { return Ok(()) };
        let problem = match run_as {
            None if self.same_user => return Ok(()),
            None => "a child process needs a user of its own, or it could read Carnet's keys: add \
                 `--run-as UID`; on a machine for trials, set `same_user = true` under `[trust]`"
                .to_owned(),
            Some(user) if matches!(user.uid, 0 | u32::MAX) || matches!(user.gid, 0 | u32::MAX) => {
                "root is no user of its own: choose one nothing else runs as".to_owned()
            }
            Some(user) if user.uid == self.own_uid => {
                format!("uid {} is Carnet's own: choose one nothing else runs as", user.uid)
            }
            Some(user) if self.operator_uids.contains(&user.uid) => {
                format!("uid {} is an operator's: choose one nothing else runs as", user.uid)
            }
            Some(_) if self.own_uid != 0 => {
                "only a Carnet that runs as root can start a child under another uid: run it as \
                 root, or put the server behind HTTP under a user of its own"
                    .to_owned()
            }
            Some(_) => return Ok(()),
        };
        Err(BrokerError::invalid("upstream.transport.stdio.run_as", problem))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use carnet_core::{RunAs, Upstream};

    use super::*;

    fn stdio(run_as: Option<RunAs>) -> Resource {
        let transport = Transport::Stdio { command: "/bin/true".into(), args: vec![], run_as };
        Resource {
            name: "files".parse().unwrap(),
            environment: "test".into(),
            labels: BTreeSet::new(),
            upstream: Upstream { transport, credentials: BTreeMap::new() },
            operations: BTreeMap::new(),
        }
    }

    fn refusal(same_user: bool, own_uid: u32, run_as: Option<(u32, u32)>) -> Option<String> {
        let confinement = Confinement { operator_uids: [1_000].into(), same_user, own_uid };
        let resource = stdio(run_as.map(|(uid, gid)| RunAs { uid, gid }));
        confinement.check(&resource).err().map(|error| error.to_string())
    }

    #[test]
    fn a_child_without_a_user_of_its_own_is_for_trials_only() {
        let refused = refusal(false, 0, None).unwrap();
        assert!(refused.contains("--run-as UID") && refused.contains("same_user"), "{refused}");
        assert_eq!(refusal(true, 0, None), None);
    }

    #[test]
    fn a_child_is_never_root_or_an_operator_or_carnet_itself() {
        assert_eq!(refusal(false, 0, Some((1_002, 1_002))), None);
        for same_user in [false, true] {
            for user in [(0, 1_002), (1_002, 0), (u32::MAX, 1), (1, u32::MAX), (1_000, 1_000)] {
                assert!(refusal(same_user, 0, Some(user)).is_some(), "{user:?}");
            }
            assert!(refusal(same_user, 1_002, Some((1_002, 1_002))).is_some());
        }
    }

    #[test]
    fn who_is_not_root_cannot_start_a_child_as_another() {
        let refused = refusal(false, 999, Some((1_002, 1_002))).unwrap();
        assert!(refused.contains("root"), "{refused}");
    }
}
