//! Typed identifiers. Each kind has its own prefix, so one can never be passed for another, in
//! code or in a record.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest identifier accepted, prefix included.
const ID_BYTES_MAX: usize = 64;

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a {kind} id: expected `{prefix}` followed by 1 to 56 of the letters a-z and the digits 0-9"
)]
pub struct IdError {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

fn check(text: &str, kind: &'static str, prefix: &'static str) -> Result<(), IdError> {
    let body = text.strip_prefix(prefix).unwrap_or("");
    let well_formed = !body.is_empty()
        && text.len() <= ID_BYTES_MAX
        && body.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if well_formed {
        return Ok(());
    }
    Err(IdError { text: text.chars().take(ID_BYTES_MAX).collect(), kind, prefix })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The prefix every identifier of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The identifier whose body is `n` in hexadecimal. Callers pass fresh random bits.
            pub fn from_bits(n: u128) -> Self {
                Self(format!(concat!($prefix, "{:032x}"), n))
            }

            /// The identifier as text, prefix included.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text, $kind, $prefix).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check(&text, $kind, $prefix).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(/// A task: the bounded piece of work that owns everything below it.
    TaskId, "task", "task_");
id!(/// A grant: an allowance made live for one task.
    GrantId, "grant", "grant_");
id!(/// A lease: a credential a target honours without asking Carnet.
    LeaseId, "lease", "lease_");
id!(/// A decision, and the operation it was made on.
    DecisionId, "decision", "dec_");
id!(/// An approval: one question to a person.
    ApprovalId, "approval", "appr_");
id!(/// A reservation: what is set aside for one operation before it is forwarded.
    ReservationId, "reservation", "resv_");
id!(/// An instance: one attested running copy of an agent.
    InstanceId, "instance", "inst_");
id!(/// A lock: a pushed stop.
    LockId, "lock", "lock_");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let error = "grant_1".parse::<TaskId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`grant_1` is not a task id: expected `task_` followed by 1 to 56 of the letters a-z and the digits 0-9"
        );
    }

    #[test]
    fn an_id_is_bounded_and_plain() {
        for text in ["task_", "task_A", "task_a b", "task_é", &format!("task_{}", "a".repeat(60))]
        {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
        assert_eq!(TaskId::from_bits(255).as_str(), "task_000000000000000000000000000000ff");
    }
}
