//! A token taken back before its time: nothing is permitted with it any more.

use serde::{Deserialize, Serialize};

use crate::{AgentName, TaskId, Timestamp};

/// A token that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedToken {
    /// Its name.
    pub jti: String,
    /// The agent it was issued to.
    pub agent: AgentName,
    /// Its task.
    pub task: TaskId,
    /// When it would have died by itself.
    pub expires: Timestamp,
}
