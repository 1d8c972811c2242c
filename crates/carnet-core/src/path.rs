//! The three paths. Each has its own audience, credential and lifetime.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The path an operation travels on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// Nothing an agent chooses changes or leaves anything.
    Read,
    /// Changes something, or carries agent-chosen bytes out of the organisation.
    Write,
    /// Changes what others may do, or cannot be understood well enough to be a write.
    Admin,
}

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path: write `read`, `write` or `admin`")]
pub struct PathError(String);

impl Path {
    /// All paths, in the order of what they can do.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The path's name, as in an audience and in policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The longest life of a token for this path, in seconds.
    pub const fn token_ttl_s_max(self) -> i64 {
        match self {
            Self::Read => 300,
            Self::Write | Self::Admin => 120,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Path {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::ALL
            .into_iter()
            .find(|path| path.as_str() == text)
            .ok_or_else(|| PathError(text.chars().take(32).collect()))
    }
}
