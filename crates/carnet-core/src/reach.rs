//! What a task can reach at a resource: the partial answer behind a filtered list and a token.

use crate::decide::task_facts;
use crate::{
    ActionName, ApprovalFacts, Arguments, Document, Path, Principal, Registered, Resource,
};
use crate::{ResourceName, Target, TaskId, TaskView, Timestamp, Verb, VerdictEffect, View};

/// The reviewed operations of `resource` on `path` that some call of the task could be permitted
/// or a person asked for, in the order of their names. Arguments may still make a call miss.
pub fn reachable(
    view: &View,
    task: &TaskId,
    resource: &ResourceName,
    path: Path,
    now: Timestamp,
) -> Vec<ActionName> {
    let (Some(held), Some(resource)) = (view.snapshot.task(task), view.snapshot.resource(resource))
    else {
        return Vec::new();
    };
    let operations = resource.operations.values();
    let reachable = operations.filter(|registered| {
        registered.path == path
            && (is_granted(held, registered, now)
                || is_asked(view, held, resource, registered, now))
    });
    reachable.map(|registered| registered.action.clone()).collect()
}

fn is_granted(held: &TaskView, registered: &Registered, now: Timestamp) -> bool {
    held.grants.iter().any(|grant| {
        grant.is_live(now)
            && !grant.allowance.delegate_only
            && grant.allowance.path == registered.path
            && grant.allowance.action.matches(&registered.action)
    })
}

/// Whether policy would ask a person for a call without arguments.
fn is_asked(
    view: &View,
    held: &TaskView,
    resource: &Resource,
    registered: &Registered,
    now: Timestamp,
) -> bool {
    let principal = Principal::Agent(held.task.agent.clone());
    let Some(principal) = view.snapshot.principal_facts(&principal) else {
        return false;
    };
    let document = Document {
        principal,
        verb: Verb::mcp(registered.path),
        target: Target::operation(resource, registered),
        task: Some(task_facts(&view.snapshot, &held.task, None)),
        approvals: ApprovalFacts::default(),
        arguments: Arguments::default(),
        now,
    };
    matches!(view.policy.judge(&document).effect, VerdictEffect::Ask(_))
}
