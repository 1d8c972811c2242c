//! The revisions of the protocol that are carried.

use std::fmt;
use std::str::FromStr;

/// A revision of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2025-06-18: `initialize`, sessions, the version in a header.
    V2025_06_18,
    /// 2025-11-25: the same, with URL elicitation.
    V2025_11_25,
    /// 2026-07-28: no `initialize` and no session; every request says what it is.
    V2026_07_28,
}

impl Revision {
    /// All that are carried, newest first.
    pub const ALL: [Self; 3] = [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18];

    /// The revision as it is written in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether every request carries its version and capabilities, and nothing precedes it.
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::V2026_07_28)
    }

    /// Whether the headers `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*` are mandatory.
    pub const fn mirrors_headers(self) -> bool {
        self.is_stateless()
    }

    /// Whether a server asks its client by a result (`input_required`) and not by a request.
    pub const fn asks_by_result(self) -> bool {
        self.is_stateless()
    }

    /// Whether a list says who may cache it.
    pub const fn scopes_caches(self) -> bool {
        self.is_stateless()
    }

    /// The HTTP status of an unknown method.
    pub const fn method_unknown_status(self) -> u16 {
        if self.is_stateless() { 404 } else { 200 }
    }

    /// The HTTP status of parameters that are refused.
    pub const fn params_invalid_status(self) -> u16 {
        if self.is_stateless() { 400 } else { 200 }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no revision that is carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a carried revision of MCP: use 2026-07-28, 2025-11-25 or 2025-06-18")]
pub struct RevisionError;

impl FromStr for Revision {
    type Err = RevisionError;
    fn from_str(text: &str) -> Result<Self, RevisionError> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text).ok_or(RevisionError)
    }
}
