//! The task: a bounded piece of work that owns everything below it.

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Effect, Lifecycle, TransitionError};
use crate::{AgentName, Principal, TaskId, Timestamp};

/// A task and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The agent that works on it.
    pub agent: AgentName,
    /// On whose behalf.
    pub subject: Principal,
    /// Who opened it.
    pub opened_by: Principal,
    /// What it is for.
    pub purpose: String,
    /// Whether it was opened from the agent's standing intent.
    pub standing: bool,
    /// The task above it.
    pub parent: Option<TaskId>,
    /// How many tasks are above it.
    pub depth: u32,
    /// When it was proposed.
    pub opened_at: Timestamp,
    /// When it ends by itself.
    pub deadline: Timestamp,
    /// How many operations it may make, where that is bounded.
    pub calls_max: Option<u64>,
    /// How many operations have been reserved against `calls_max`.
    pub calls_spent: u64,
    /// How many child tasks it may open, where that is bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children_max: Option<u64>,
    /// How many it has opened.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub children: u64,
    /// How many levels of tasks may be below it, where that is bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels_max: Option<u32>,
    /// The name of the token it was handed on with, where it was with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_with: Option<String>,
    /// Whether something untrusted has been read in its tree, as said at the tree's root.
    pub marked: bool,
    /// Where it stands.
    pub state: TaskState,
    /// Why it is suspended, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
}

/// Why a task is suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// What put its context in doubt.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// The task above it that it was suspended with, and is resumed with; none where it was for its
    /// own sake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<TaskId>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskState {
    /// Declared, not yet live.
    Proposed,
    /// Live: its grants count.
    Open,
    /// Its context is in doubt: nothing is permitted until it is resumed.
    Suspended,
    /// Nothing is permitted any more; what hangs below it is being revoked.
    Closing {
        /// Why it ends.
        closure: Closure,
        /// Since when.
        since: Timestamp,
    },
    /// Over: nothing is left below it.
    Closed {
        /// Why it ended.
        closure: Closure,
        /// When the last thing below it was gone.
        at: Timestamp,
    },
}

/// Why a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Closure {
    /// The work is done.
    Completed,
    /// The work failed.
    Failed,
    /// The deadline passed.
    Expired,
    /// Someone pulled the switch.
    Revoked,
    /// The budget is spent.
    Budget,
}

impl Closure {
    /// The name used in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Budget => "budget",
        }
    }
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// It becomes live.
    Open,
    /// Its context is in doubt.
    Suspend,
    /// The doubt is settled.
    Resume,
    /// It ends.
    Close(Closure),
    /// Every lease and connection below it, and below its child tasks, is gone.
    Drain,
    /// One operation is set aside against its budget.
    ReserveCall,
    /// A reserved operation was never forwarded.
    ReleaseCall,
    /// Something untrusted is about to be read in its tree.
    Mark,
    /// A child task is opened, and so many calls of the budget move to it.
    HandOn {
        /// How many.
        calls: u64,
    },
}

impl TaskEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Close(_) => "close",
            Self::Drain => "drain",
            Self::ReserveCall => "reserve a call",
            Self::ReleaseCall => "release a call",
            Self::Mark => "mark",
            Self::HandOn { .. } => "hand on within its bounds",
        }
    }
}

impl TaskState {
    /// The state's name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Open => "open",
            Self::Suspended => "suspended",
            Self::Closing { .. } => "closing",
            Self::Closed { .. } => "closed",
        }
    }
}

impl Task {
    /// Whether the task is open and its deadline has not passed.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == TaskState::Open && now < self.deadline
    }

    /// Whether the task has ended or is ending.
    pub fn is_over(&self) -> bool {
        matches!(self.state, TaskState::Closing { .. } | TaskState::Closed { .. })
    }

    /// Moves the task by one event.
    pub fn apply(
        mut self,
        event: TaskEvent,
        now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), TransitionError> {
        let from = self.state.as_str();
        let refused = || TransitionError::new(Lifecycle::Task, &self.id, from, event.name());
        let (state, transition) = match (&self.state, event) {
            (TaskState::Proposed, TaskEvent::Open) => (TaskState::Open, "opened"),
            (TaskState::Open, TaskEvent::Suspend) => (TaskState::Suspended, "suspended"),
            (TaskState::Suspended, TaskEvent::Resume) => {
                self.suspension = None;
                (TaskState::Open, "resumed")
            }
            (
                TaskState::Proposed | TaskState::Open | TaskState::Suspended,
                TaskEvent::Close(closure),
            ) => (TaskState::Closing { closure, since: now }, "closing"),
            (TaskState::Closing { closure, .. }, TaskEvent::Drain) => {
                (TaskState::Closed { closure: *closure, at: now }, "closed")
            }
            (TaskState::Open, TaskEvent::ReserveCall) => {
                self.calls_spent = self.next_calls_spent().ok_or_else(refused)?;
                return Ok((self, Vec::new()));
            }
            (TaskState::Open, TaskEvent::HandOn { calls }) => {
                return self.with_child(calls).map(|task| (task, Vec::new())).ok_or_else(refused);
            }
            (TaskState::Open, TaskEvent::Mark) => {
                self.marked = true;
                (TaskState::Open, "marked")
            }
            // A call that was reserved while the task was open may be released after it closed.
            (_, TaskEvent::ReleaseCall) => {
                self.calls_spent = self.calls_spent.checked_sub(1).ok_or_else(refused)?;
                return Ok((self, Vec::new()));
            }
            _ => return Err(refused()),
        };
        self.state = state;
        let effects = self.effects_of(transition);
        Ok((self, effects))
    }

    /// Suspends the task and says why.
    pub fn suspend(
        self,
        suspension: Suspension,
        now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), TransitionError> {
        let (mut task, effects) = self.apply(TaskEvent::Suspend, now)?;
        task.suspension = Some(suspension);
        Ok((task, effects))
    }

    /// The task with one more child, and `calls` of its budget moved there.
    fn with_child(&self, calls: u64) -> Option<Self> {
        let children = self.children.checked_add(1)?;
        let calls_spent = self.calls_spent.checked_add(calls)?;
        let fits = children <= self.children_max.unwrap_or(u64::MAX)
            && calls_spent <= self.calls_max.unwrap_or(u64::MAX);
        fits.then(|| Self { children, calls_spent, ..self.clone() })
    }

    fn next_calls_spent(&self) -> Option<u64> {
        let next = self.calls_spent.checked_add(1)?;
        (next <= self.calls_max.unwrap_or(u64::MAX)).then_some(next)
    }

    fn effects_of(&self, transition: &'static str) -> Vec<Effect> {
        let narrows = !matches!(self.state, TaskState::Open | TaskState::Proposed);
        let mut effects = vec![Effect::Append {
            lifecycle: Lifecycle::Task,
            id: self.id.to_string(),
            transition,
            narrows,
        }];
        if matches!(self.state, TaskState::Closing { .. } | TaskState::Suspended) {
            effects.push(Effect::Revoke(self.id.clone()));
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    const NOW: Timestamp = Timestamp::from_s(1_000);

    #[test]
    fn a_closed_task_never_opens_again() {
        let task = fixture::task("task_1");
        let (task, _) = task.apply(TaskEvent::Close(Closure::Revoked), NOW).unwrap();
        let (task, _) = task.apply(TaskEvent::Drain, NOW).unwrap();
        for event in [TaskEvent::Open, TaskEvent::Resume, TaskEvent::Close(Closure::Failed)] {
            let error = task.clone().apply(event, NOW).unwrap_err();
            assert_eq!(error.state(), "closed");
        }
    }

    #[test]
    fn closing_revokes_what_is_live_and_may_use_the_reserve() {
        let (_, effects) =
            fixture::task("task_1").apply(TaskEvent::Close(Closure::Completed), NOW).unwrap();
        assert!(effects.contains(&Effect::Revoke("task_1".parse().unwrap())));
        assert!(matches!(effects[0], Effect::Append { narrows: true, .. }));
    }

    #[test]
    fn the_last_call_of_a_budget_is_the_last() {
        let mut task = fixture::task("task_1");
        task.calls_max = Some(1);
        let (task, _) = task.apply(TaskEvent::ReserveCall, NOW).unwrap();
        assert!(task.apply(TaskEvent::ReserveCall, NOW).is_err());
    }

    #[test]
    fn a_mark_stays_whatever_becomes_of_the_task() {
        let (task, effects) = fixture::task("task_1").apply(TaskEvent::Mark, NOW).unwrap();
        assert!(task.marked && task.is_live(NOW));
        assert!(matches!(effects[0], Effect::Append { transition: "marked", .. }));
        let (task, _) = task.apply(TaskEvent::Suspend, NOW).unwrap();
        let (task, _) = task.apply(TaskEvent::Resume, NOW).unwrap();
        assert!(task.marked);
    }

    #[test]
    fn a_suspended_task_is_not_live() {
        let (task, _) = fixture::task("task_1").apply(TaskEvent::Suspend, NOW).unwrap();
        assert!(!task.is_live(NOW));
        let (task, _) = task.apply(TaskEvent::Resume, NOW).unwrap();
        assert!(task.is_live(NOW));
        assert!(!task.is_live(task.deadline));
    }
}
