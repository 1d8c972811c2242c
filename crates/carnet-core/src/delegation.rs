//! Delegation: what a task hands on to a child task is a part of what it has left.
//!
//! Each allowance of the child is cut from one grant of the parent. It is a part of it or it is
//! refused, never trimmed; its uses and totals move, so that the tree never has more than its root.

use std::collections::BTreeMap;

use crate::intent::{Allowance, Intent, Wider};
use crate::{
    Grant, GrantEvent, GrantId, LockTarget, Snapshot, TASK_DEPTH_MAX, Task, TaskEvent, TaskView,
    Timestamp,
};

/// What moves from a grant to the one that is cut from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// How many uses.
    pub uses: u64,
    /// How much of each total.
    pub totals: BTreeMap<String, i64>,
}

/// One allowance of a child task, and the grant it is cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The parent's grant.
    pub from: GrantId,
    /// What the child may do.
    pub allowance: Allowance,
    /// When the child's grant ends by itself.
    pub expires: Timestamp,
}

/// A child task as it may be opened, and what is left of its parent then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The parent, with the child's calls and the child itself counted.
    pub parent: Task,
    /// The parent's grants that something moved from, as they are then.
    pub grants: Vec<Grant>,
    /// What the child gets, in the order of its intent.
    pub cuts: Vec<Cut>,
    /// When the child ends by itself.
    pub deadline: Timestamp,
    /// How many operations it may make.
    pub calls_max: Option<u64>,
    /// How many child tasks it may open.
    pub children_max: Option<u64>,
    /// How many levels of tasks may be below it.
    pub levels_max: Option<u32>,
}

/// Why a task cannot be handed on as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPart {
    /// The purpose is another.
    #[error("purpose: a child task has the purpose of its parent: write `{0}`")]
    Purpose(String),
    /// The child would outlive the parent.
    #[error("deadline: {asked_s} s are asked for and the task has {left_s} s left")]
    Deadline {
        /// What is asked for.
        asked_s: i64,
        /// What is left.
        left_s: i64,
    },
    /// A bound of the budget is missing or larger than what is left.
    #[error("budget.{name}: {} asked for and {left} left", asked_text(*.asked))]
    Budget {
        /// Which bound.
        name: &'static str,
        /// What is asked for; nothing means without a bound.
        asked: Option<u64>,
        /// What is left.
        left: u64,
    },
    /// The chain of tasks would be longer than is allowed.
    #[error("the task is the {TASK_DEPTH_MAX}th below another: nothing is handed on from there")]
    TooDeep,
    /// No grant of the task has the allowance as a part.
    #[error("allow[{index}]: {problem}")]
    Allowance {
        /// Its place in the intent.
        index: usize,
        /// Why the nearest grant does not have it.
        problem: Shortfall,
    },
}

/// Why a grant does not have an allowance as a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// It is not a part of what the grant allows.
    #[error("{grant}: {wider}")]
    Wider {
        /// The grant.
        grant: GrantId,
        /// Why.
        wider: Wider,
    },
    /// It takes more uses than are left.
    #[error("{grant}: `uses`: {} asked for and {left} left", asked_text(*.asked))]
    Uses {
        /// The grant.
        grant: GrantId,
        /// What is asked for; nothing means without a bound.
        asked: Option<u64>,
        /// What is left.
        left: u64,
    },
    /// It takes more of a total than is left.
    #[error("{grant}: `total.{name}`: {asked} are asked for and {left} are left")]
    Total {
        /// The grant.
        grant: GrantId,
        /// The argument that is summed.
        name: String,
        /// What is asked for.
        asked: i64,
        /// What is left.
        left: i64,
    },
    /// It would outlive the grant.
    #[error("{grant}: `expires`: it would live longer than the grant it is a part of")]
    Expires {
        /// The grant.
        grant: GrantId,
    },
    /// The task has no live grant for these operations that could be handed on.
    #[error("the task has no live grant for `{0}` to hand on")]
    None(String),
}

fn asked_text(asked: Option<u64>) -> String {
    asked.map_or_else(|| "no bound is".to_owned(), |asked| format!("{asked} are"))
}

/// What the task of `view` hands on where a child task with `intent` is opened below it, at `now`;
/// `deadline_s` is how long a child lasts that does not say.
pub fn hand_on(
    snapshot: &Snapshot,
    view: &TaskView,
    intent: &Intent,
    deadline_s: u32,
    now: Timestamp,
) -> Result<Handover, NotAPart> {
    let task = &view.task;
    if intent.purpose.as_str() != task.purpose {
        return Err(NotAPart::Purpose(task.purpose.clone()));
    }
    let deadline = deadline_of(task, intent.deadline_s, deadline_s, now)?;
    let levels_max = levels_below(task, intent)?;
    let children_max = children_below(task, intent)?;
    let (parent, calls_max) = parent_after(task, intent, now)?;
    let mut after = Remains { grants: view.grants.clone(), changed: Vec::new() };
    let mut cuts = Vec::with_capacity(intent.allowances.len());
    for (index, allowance) in intent.allowances.iter().enumerate() {
        let cut = after.cut(snapshot, allowance, deadline, now);
        cuts.push(cut.map_err(|problem| NotAPart::Allowance { index, problem })?);
    }
    let grants = after.grants.into_iter().filter(|grant| after.changed.contains(&grant.id));
    let grants = grants.collect();
    Ok(Handover { parent, grants, cuts, deadline, calls_max, children_max, levels_max })
}

fn deadline_of(
    task: &Task,
    asked_s: Option<u32>,
    default_s: u32,
    now: Timestamp,
) -> Result<Timestamp, NotAPart> {
    let Some(asked_s) = asked_s.map(i64::from) else {
        return Ok(now.plus_s(i64::from(default_s)).min(task.deadline));
    };
    let asked = now.plus_s(asked_s);
    if asked > task.deadline {
        let left_s = task.deadline.us().saturating_sub(now.us()) / 1_000_000;
        return Err(NotAPart::Deadline { asked_s, left_s });
    }
    Ok(asked)
}

/// How many levels the child may have below it.
fn levels_below(task: &Task, intent: &Intent) -> Result<Option<u32>, NotAPart> {
    let asked = intent.budget.as_ref().and_then(|budget| budget.depth);
    if task.depth >= TASK_DEPTH_MAX {
        return Err(NotAPart::TooDeep);
    }
    let Some(levels) = task.levels_max else {
        return Ok(asked.map(|levels| u32::try_from(levels).unwrap_or(u32::MAX)));
    };
    let below = levels.checked_sub(1);
    let over = |left: u64| NotAPart::Budget { name: "depth", asked: asked.or(Some(1)), left };
    let left = below.ok_or_else(|| over(0))?;
    match asked {
        Some(asked) if asked > u64::from(left) => Err(over(u64::from(left))),
        Some(asked) => Ok(u32::try_from(asked).ok()),
        None => Ok(Some(left)),
    }
}

/// How many child tasks the child may open: no more than its parent might.
fn children_below(task: &Task, intent: &Intent) -> Result<Option<u64>, NotAPart> {
    let asked = intent.budget.as_ref().and_then(|budget| budget.fan_out);
    match (asked, task.children_max) {
        (Some(asked), Some(left)) if asked > left => {
            Err(NotAPart::Budget { name: "fan_out", asked: Some(asked), left })
        }
        (asked, above) => Ok(asked.or(above)),
    }
}

/// The parent with the child counted and its calls moved to it.
fn parent_after(
    task: &Task,
    intent: &Intent,
    now: Timestamp,
) -> Result<(Task, Option<u64>), NotAPart> {
    let asked = intent.budget.as_ref().and_then(|budget| budget.calls);
    let left = task.calls_max.map(|max| max.saturating_sub(task.calls_spent));
    let calls = match left {
        None => 0,
        Some(left) => asked.filter(|asked| *asked <= left).ok_or(NotAPart::Budget {
            name: "calls",
            asked,
            left,
        })?,
    };
    let fan_out = task.children_max.map_or(0, |max| max.saturating_sub(task.children));
    let full = |_| NotAPart::Budget { name: "fan_out", asked: Some(1), left: fan_out };
    let (parent, _) = task.clone().apply(TaskEvent::HandOn { calls }, now).map_err(full)?;
    Ok((parent, asked))
}

/// The grants of the parent as more and more is cut from them.
struct Remains {
    grants: Vec<Grant>,
    changed: Vec<GrantId>,
}

impl Remains {
    /// Cuts `allowance` from the first grant that has it as a part.
    fn cut(
        &mut self,
        snapshot: &Snapshot,
        allowance: &Allowance,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Result<Cut, Shortfall> {
        let mut nearest = None;
        for grant in &mut self.grants {
            if !may_be_handed_on(snapshot, grant, now) {
                continue;
            }
            match part_of(snapshot, grant, allowance, deadline, now) {
                Ok((after, expires)) => {
                    let from = grant.id.clone();
                    if after != *grant {
                        *grant = after;
                        self.changed.push(from.clone());
                    }
                    return Ok(Cut { from, allowance: allowance.clone(), expires });
                }
                Err(problem) => {
                    let closer =
                        !matches!(problem, Shortfall::Wider { wider: Wider::Action { .. }, .. });
                    nearest = nearest.filter(|_| !closer).or(Some(problem));
                }
            }
        }
        Err(nearest.unwrap_or_else(|| Shortfall::None(allowance.action.to_string())))
    }
}

/// Whether anything may be cut from `grant`: not from a yes to one operation of one running copy.
fn may_be_handed_on(snapshot: &Snapshot, grant: &Grant, now: Timestamp) -> bool {
    let is_for_one = grant.draws_on.is_some()
        || grant.approved.as_ref().is_some_and(|approved| approved.instance.is_some());
    grant.is_live(now) && !is_for_one && !snapshot.is_locked(&LockTarget::Grant(grant.id.clone()))
}

/// The grant once `allowance` is cut from it, and when the part ends by itself.
fn part_of(
    snapshot: &Snapshot,
    grant: &Grant,
    allowance: &Allowance,
    deadline: Timestamp,
    now: Timestamp,
) -> Result<(Grant, Timestamp), Shortfall> {
    let id = || grant.id.clone();
    let kinds = |name: &str| snapshot.kinds_of(&grant.allowance.action, name);
    allowance
        .check_within(&grant.allowance, &kinds)
        .map_err(|wider| Shortfall::Wider { grant: id(), wider })?;
    let expires = match allowance.expires_s.map(|s| now.plus_s(i64::from(s))) {
        Some(asked) if asked > grant.expires => return Err(Shortfall::Expires { grant: id() }),
        Some(asked) => asked.min(deadline),
        None => grant.expires.min(deadline),
    };
    let share = share_of(grant, allowance)?;
    let short = |_| Shortfall::Uses { grant: id(), asked: Some(share.uses), left: 0 };
    let (after, _) = grant.clone().apply(GrantEvent::HandOn(share.clone()), now).map_err(short)?;
    Ok((after, expires))
}

/// What of the grant's uses and totals moves with `allowance`.
fn share_of(grant: &Grant, allowance: &Allowance) -> Result<Share, Shortfall> {
    let uses = match grant.uses_left() {
        None => 0,
        Some(left) => allowance.uses.filter(|asked| *asked <= left).ok_or(Shortfall::Uses {
            grant: grant.id.clone(),
            asked: allowance.uses,
            left,
        })?,
    };
    let mut totals = BTreeMap::new();
    for (name, ceiling) in &grant.allowance.total {
        let left = ceiling.saturating_sub(grant.totals_spent.get(name).copied().unwrap_or(0));
        let asked = allowance.total.get(name).copied().unwrap_or(i64::MAX);
        if asked > left {
            let (grant, name) = (grant.id.clone(), name.clone());
            return Err(Shortfall::Total { grant, name, asked, left });
        }
        totals.insert(name.clone(), asked);
    }
    Ok(Share { uses, totals })
}

#[cfg(test)]
mod tests;
