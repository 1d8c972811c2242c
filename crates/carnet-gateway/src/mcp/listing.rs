//! What of a server's list is shown to a task.

use std::collections::BTreeSet;
use std::sync::Arc;

use carnet_core::{ActionName, Arguments, Operation, Registered, Resource, TaskView, reachable};
use serde_json::{Map, Value};

use super::codec::{Item, ListKind, pin};
use super::endpoint::Received;
use crate::gateway::Gateway;

/// What one task may see of one resource on one path, as of one moment.
pub(super) struct Shown {
    kind: ListKind,
    resource: Option<Arc<Resource>>,
    task: Option<Arc<TaskView>>,
    reach: BTreeSet<ActionName>,
    now: carnet_core::Timestamp,
}

impl Gateway {
    /// What the caller may see of a list of `kind`.
    pub(super) fn shown(&self, received: &Received, kind: ListKind) -> Shown {
        let (view, now) = (self.control.view(), self.control.now().wall);
        let caller = &received.caller;
        let reach = reachable(&view, &caller.task, &caller.resource, caller.path, now);
        Shown {
            kind,
            resource: view.snapshot.resource(&caller.resource).cloned(),
            task: view.snapshot.task(&caller.task).cloned(),
            reach: reach.into_iter().collect(),
            now,
        }
    }
}

impl Shown {
    /// Whether an item is shown: reviewed, unchanged, and within the task's reach.
    pub(super) fn has(&self, item: &Item<'_>) -> bool {
        let (word, name) = match self.kind {
            ListKind::Tools => ("tool", item.key),
            ListKind::Prompts => ("prompt", item.key),
            ListKind::Resources | ListKind::Templates => ("resource", "read"),
        };
        let Some(resource) = &self.resource else { return false };
        let Ok(action) = ActionName::of(&resource.name, word, name) else { return false };
        let Some(registered) = resource.registered(&action) else { return false };
        if !self.reach.contains(&action) {
            return false;
        }
        match self.kind {
            ListKind::Tools | ListKind::Prompts => {
                pin(item.definition).ok() == Some(registered.pin)
            }
            ListKind::Resources => self.may_read(resource, registered, item.key),
            // Which of its URIs may be read is decided when one is.
            ListKind::Templates => true,
        }
    }

    /// Whether `uri` is within what a grant lets be read. Where no grant speaks of reading at all,
    /// reading is within reach because a person would be asked, whatever the URI.
    fn may_read(&self, resource: &Resource, registered: &Registered, uri: &str) -> bool {
        let Some(task) = &self.task else { return false };
        let mut granted = task.grants.iter().map(|grant| (grant, &grant.allowance)).filter(
            |(grant, allowance)| {
                grant.is_live(self.now)
                    && !allowance.delegate_only
                    && allowance.path == registered.path
                    && allowance.action.matches(&registered.action)
            },
        );
        let Ok(arguments) =
            Arguments::try_from(Map::from_iter([("uri".to_owned(), Value::from(uri))]))
        else {
            return false;
        };
        let Ok(operation) = Operation::new(resource.name.clone(), registered, arguments) else {
            return false;
        };
        let mut any = false;
        let covered = granted.any(|(_, allowance)| {
            any = true;
            allowance.covers(&operation, &registered.arguments).is_ok()
        });
        covered || !any
    }
}
