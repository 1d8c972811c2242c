//! What becomes of the people and agents a task rests on, and what is done about it: one table, which
//! the operator reads and changes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that puts the context of tasks in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextEvent {
    /// An agent's owner, environment, selectors, identities or standing intent are others.
    AgentChanged,
    /// An agent is no longer registered.
    AgentRemoved,
    /// Nobody answers for an agent any more.
    OwnerGone,
    /// A person's teams or logins are others.
    UserChanged,
    /// A person is no longer known.
    UserGone,
    /// An identity provider ended a session (CAEP `session-revoked`).
    SessionRevoked,
    /// A credential is another, or taken away (CAEP `credential-change`).
    CredentialChange,
    /// The risk is high now (CAEP `risk-level-change`).
    RiskLevelHigh,
    /// The risk is medium now.
    RiskLevelMedium,
    /// The risk is low now.
    RiskLevelLow,
    /// A device keeps to the rules no longer (CAEP `device-compliance-change`).
    DeviceNotCompliant,
    /// It is less sure who somebody is (CAEP `assurance-level-change`).
    AssuranceDecrease,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// It is recorded, and nothing else.
    Record,
    /// What depends on it is suspended, until an operator resumes it.
    Suspend,
    /// What depends on it is closed.
    Close,
    /// Whom it is about is locked, until an operator lifts the lock.
    Lock,
}

impl ContextEvent {
    /// Every event.
    pub const ALL: [Self; 12] = [
        Self::AgentChanged,
        Self::AgentRemoved,
        Self::OwnerGone,
        Self::UserChanged,
        Self::UserGone,
        Self::SessionRevoked,
        Self::CredentialChange,
        Self::RiskLevelHigh,
        Self::RiskLevelMedium,
        Self::RiskLevelLow,
        Self::DeviceNotCompliant,
        Self::AssuranceDecrease,
    ];

    /// The event's name in records and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentChanged => "agent_changed",
            Self::AgentRemoved => "agent_removed",
            Self::OwnerGone => "owner_gone",
            Self::UserChanged => "user_changed",
            Self::UserGone => "user_gone",
            Self::SessionRevoked => "session_revoked",
            Self::CredentialChange => "credential_change",
            Self::RiskLevelHigh => "risk_level_high",
            Self::RiskLevelMedium => "risk_level_medium",
            Self::RiskLevelLow => "risk_level_low",
            Self::DeviceNotCompliant => "device_not_compliant",
            Self::AssuranceDecrease => "assurance_decrease",
        }
    }

    /// What is done about it where the operator says nothing else.
    pub const fn default_reaction(self) -> Reaction {
        match self {
            Self::AgentRemoved | Self::UserGone | Self::SessionRevoked | Self::CredentialChange => {
                Reaction::Close
            }
            Self::AgentChanged
            | Self::OwnerGone
            | Self::RiskLevelHigh
            | Self::DeviceNotCompliant
            | Self::AssuranceDecrease => Reaction::Suspend,
            Self::UserChanged | Self::RiskLevelMedium | Self::RiskLevelLow => Reaction::Record,
        }
    }
}

impl fmt::Display for ContextEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reaction {
    /// The reaction's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Suspend => "suspend",
            Self::Close => "close",
            Self::Lock => "lock",
        }
    }
}

/// What is done about each event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextRules {
    set: BTreeMap<ContextEvent, Reaction>,
}

impl ContextRules {
    /// The defaults, with what the operator says instead.
    pub fn of(set: impl IntoIterator<Item = (ContextEvent, Reaction)>) -> Self {
        Self { set: set.into_iter().collect() }
    }

    /// What is done about `event`.
    pub fn reaction(&self, event: ContextEvent) -> Reaction {
        self.set.get(&event).copied().unwrap_or(event.default_reaction())
    }

    /// Whether the operator says so, and not the default.
    pub fn is_set(&self, event: ContextEvent) -> bool {
        self.set.contains_key(&event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_the_operator_stands_before_the_default() {
        let rules = ContextRules::of([(ContextEvent::RiskLevelMedium, Reaction::Suspend)]);
        assert_eq!(rules.reaction(ContextEvent::RiskLevelMedium), Reaction::Suspend);
        assert!(rules.is_set(ContextEvent::RiskLevelMedium));
        for event in ContextEvent::ALL.into_iter().filter(|event| !rules.is_set(*event)) {
            assert_eq!(rules.reaction(event), event.default_reaction());
        }
    }

    #[test]
    fn the_names_written_are_the_names_read() {
        for event in ContextEvent::ALL {
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
        for reaction in [Reaction::Record, Reaction::Suspend, Reaction::Close, Reaction::Lock] {
            assert_eq!(serde_json::to_value(reaction).unwrap(), reaction.as_str());
        }
    }
}
