//! Names people choose: agents, users, resources, actions and policies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest agent, user or resource name.
const NAME_BYTES_MAX: usize = 63;
/// The longest action name: a resource, a kind and a tool name of up to 128 bytes.
const ACTION_BYTES_MAX: usize = 224;
/// The longest policy id.
const POLICY_BYTES_MAX: usize = 128;

/// Why a text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: {rule}")]
pub struct NameError {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.to_owned()));
                }
                let text = text.chars().take(80).flat_map(char::escape_debug).collect();
                Err(NameError { text, kind: $kind, rule: $rule })
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
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

fn is_label(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_tool_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/')
}

fn is_action(text: &str) -> bool {
    let mut parts = text.splitn(3, '.');
    let (Some(resource), Some(kind), Some(item)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    text.len() <= ACTION_BYTES_MAX
        && is_label(resource)
        && is_label(kind)
        && !item.is_empty()
        && item.bytes().all(is_tool_byte)
}

fn is_policy_id(text: &str) -> bool {
    (1..=POLICY_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

name!(/// A registered agent, the last part of its SPIFFE ID in the built-in trust domain.
    AgentName, "an agent name",
    "use 1 to 63 of a-z, 0-9 and `-`, beginning with a letter", is_label);
name!(/// A named person.
    UserName, "a user name",
    "use 1 to 63 of a-z, 0-9 and `-`, beginning with a letter", is_label);
name!(/// A thing behind a gateway.
    ResourceName, "a resource name",
    "use 1 to 63 of a-z, 0-9 and `-`, beginning with a letter", is_label);
name!(/// A registered operation: `<resource>.<kind>.<item>`, such as `desk.tool.issue_refund`.
    ActionName, "an action name",
    "write `<resource>.<kind>.<item>`, such as `desk.tool.issue_refund`", is_action);
name!(/// The `@id` of a policy.
    PolicyId, "a policy id",
    "use 1 to 128 of A-Z, a-z, 0-9, `-`, `_` and `.`", is_policy_id);

impl ActionName {
    /// The action of `item` of `kind` on `resource`, or an error where `item` has other bytes than
    /// a tool name may have.
    pub fn of(resource: &ResourceName, kind: &str, item: &str) -> Result<Self, NameError> {
        format!("{resource}.{kind}.{item}").parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_names_its_resource_kind_and_item() {
        let desk: ResourceName = "desk".parse().unwrap();
        let action = ActionName::of(&desk, "tool", "tickets/get.one").unwrap();
        assert_eq!(action.as_str(), "desk.tool.tickets/get.one");
        for text in ["desk", "desk.tool", "desk.tool.", "Desk.tool.x", "desk.tool.a b", ".tool.x"] {
            assert!(text.parse::<ActionName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_could_be_mistaken_for_a_path_or_an_option_is_refused() {
        for text in ["", "-x", "x-", "a/b", "..", "A", "a_b", "a.b", "é", &"a".repeat(64)] {
            assert!(text.parse::<ResourceName>().is_err(), "{text}");
        }
    }
}
