//! Coverage: does some active grant of this task cover the operation, with room left?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Amounts, Approve, ArgumentKind, Grant, GrantId, GrantState, InstanceId};
use crate::{LockTarget, Operation, Snapshot, TaskView, Timestamp, Uncovered, UserName};

/// How a grant covers an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// The covering grant.
    pub grant: GrantId,
    /// What must be set aside, on which grants. Empty where nothing is counted.
    pub charges: Vec<Charge>,
    /// Who approved exactly this, sorted.
    pub approved_by: Vec<UserName>,
    /// Whether the allowance wants a person at each use and none has said yes to this one.
    pub wants_approval: bool,
}

/// What one operation takes of one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The grant.
    pub grant: GrantId,
    /// What it takes beside one use.
    pub amounts: Amounts,
}

/// Why one grant does not cover an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// It is not active for this running copy, or its time is over: what it is instead.
    NotLive(String),
    /// A lock names it.
    Locked,
    /// Its uses or totals are spent.
    Spent,
    /// The grant it was cut from, in a task above, is gone or does not allow it.
    Above(GrantId),
    /// It is about something else.
    Uncovered(Uncovered),
}

/// The answer over all grants of a task: the cover, or why each grant misses.
pub(crate) type Coverage = Result<Cover, Vec<(GrantId, Miss)>>;

/// Looks for the grant that covers `operation` with the least ceremony: one a person approved for
/// exactly this, else one that needs nobody, else one that wants a person at each use.
pub(crate) fn cover(
    snapshot: &Snapshot,
    view: &TaskView,
    operation: &Operation,
    instance: &InstanceId,
    now: Timestamp,
) -> Coverage {
    let kinds = argument_kinds(snapshot, operation);
    let mut misses = Vec::new();
    let mut best: Option<Cover> = None;
    for grant in &view.grants {
        match try_grant(snapshot, view, grant, operation, instance, &kinds, now) {
            Ok(cover) => {
                if best.as_ref().is_none_or(|best| rank(&cover) < rank(best)) {
                    best = Some(cover);
                }
            }
            Err(miss) => misses.push((grant.id.clone(), miss)),
        }
    }
    best.ok_or(misses)
}

fn rank(cover: &Cover) -> u8 {
    match (cover.approved_by.is_empty(), cover.wants_approval) {
        (false, false) => 0,
        (true, false) => 1,
        (_, true) => 2,
    }
}

fn argument_kinds(snapshot: &Snapshot, operation: &Operation) -> BTreeMap<String, ArgumentKind> {
    let registered = snapshot
        .resource(operation.resource())
        .and_then(|resource| resource.registered(operation.action()));
    registered.map(|registered| registered.arguments.clone()).unwrap_or_default()
}

fn try_grant(
    snapshot: &Snapshot,
    view: &TaskView,
    grant: &Grant,
    operation: &Operation,
    instance: &InstanceId,
    kinds: &BTreeMap<String, ArgumentKind>,
    now: Timestamp,
) -> Result<Cover, Miss> {
    let totals = grant.allowance.covers(operation, kinds).map_err(Miss::Uncovered)?;
    check_live(grant, now)?;
    if snapshot.is_locked(&LockTarget::Grant(grant.id.clone())) {
        return Err(Miss::Locked);
    }
    if !grant.is_for(instance) {
        return Err(Miss::NotLive("approved for another running copy".to_owned()));
    }
    check_above(snapshot, view, grant, operation, kinds, now)?;
    let mut charges = Vec::new();
    charge(grant, Amounts { totals }, &mut charges)?;
    if let Some(id) = &grant.draws_on {
        let base = view.grants.iter().find(|grant| grant.id == *id).ok_or(Miss::Spent)?;
        check_live(base, now)?;
        if snapshot.is_locked(&LockTarget::Grant(base.id.clone())) {
            return Err(Miss::Locked);
        }
        let totals = base.allowance.covers(operation, kinds).map_err(Miss::Uncovered)?;
        charge(base, Amounts { totals }, &mut charges)?;
    }
    let approved_by = grant.approved.as_ref().map(|yes| yes.by.clone()).unwrap_or_default();
    let wants_approval = grant.allowance.approve == Approve::OnUse && grant.approved.is_none();
    Ok(Cover { grant: grant.id.clone(), charges, approved_by, wants_approval })
}

/// Whether every grant above, from the one it was cut from to the root's, stands and allows the
/// operation too. So what is handed on is a part of what is there, whatever was compared when it was.
fn check_above(
    snapshot: &Snapshot,
    view: &TaskView,
    grant: &Grant,
    operation: &Operation,
    kinds: &BTreeMap<String, ArgumentKind>,
    now: Timestamp,
) -> Result<(), Miss> {
    let above = snapshot.grants_above(view, grant, now).map_err(Miss::Above)?;
    let wide = above.into_iter().find(|grant| grant.allowance.admits(operation, kinds).is_err());
    wide.map_or(Ok(()), |grant| Err(Miss::Above(grant.id.clone())))
}

fn check_live(grant: &Grant, now: Timestamp) -> Result<(), Miss> {
    match &grant.state {
        _ if grant.is_live(now) => Ok(()),
        GrantState::Exhausted => Err(Miss::Spent),
        GrantState::Active => Err(Miss::NotLive("past its time".to_owned())),
        state => Err(Miss::NotLive(state.as_str().to_owned())),
    }
}

fn charge(grant: &Grant, amounts: Amounts, charges: &mut Vec<Charge>) -> Result<(), Miss> {
    if !grant.has_room_for(&amounts) {
        return Err(Miss::Spent);
    }
    if grant.is_counted() {
        charges.push(Charge { grant: grant.id.clone(), amounts });
    }
    Ok(())
}
