//! A federation target: a cloud or a service that trusts Carnet as an OIDC issuer, and what a person
//! reviews of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Path;

/// The longest role.
pub const ROLE_BYTES_MAX: usize = 256;
/// The longest name of a session.
pub const SESSION_NAME_BYTES_MAX: usize = 64;

/// How tokens for a target look, and what it makes of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederationTarget {
    /// The only audience of its tokens.
    pub audience: String,
    /// The longest life of a token, in seconds; the path's own where it is shorter.
    pub ttl_s: u32,
    /// How long what the target gives for a token may live after the token: nobody can call that
    /// back. Nothing where the token itself is what the target takes.
    pub session_s: u32,
    /// Whether its tokens carry session tags for AWS.
    #[serde(default)]
    pub aws_tags: bool,
    /// Whether `sub` ends in the path, for a target that can tell tokens by nothing else.
    #[serde(default)]
    pub subject_per_path: bool,
}

impl FederationTarget {
    /// What is reviewed of the tokens for `path`: everything the target is told, and what an agent may
    /// say. Another target, or another life, is another definition.
    pub fn definition(&self, path: Path) -> Value {
        json!({
            "name": path,
            "description": format!("A token for {} on the {path} path", self.audience),
            "federation": self,
            "inputSchema": {
                "type": "object",
                "properties": {
                    "role": { "type": "string", "maxLength": ROLE_BYTES_MAX },
                    "session_name": { "type": "string", "maxLength": SESSION_NAME_BYTES_MAX },
                },
                "additionalProperties": false,
            },
        })
    }

    /// How long a token for `path` may live, and no longer than `path` lets any.
    pub fn ttl_s(&self, path: Path) -> i64 {
        i64::from(self.ttl_s).min(path.token_ttl_s_max())
    }
}

/// Whether `text` may name a role: what every target takes as a tag, an attribute or a name.
pub fn is_role(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.:/=+-@".contains(&b);
    (1..=ROLE_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether `text` may name a session: what AWS takes as `RoleSessionName` and as the value of a tag.
pub fn is_session_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_=+.@-".contains(&b);
    (2..=SESSION_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> FederationTarget {
        FederationTarget {
            audience: "sts.amazonaws.com".into(),
            ttl_s: 200,
            session_s: 900,
            aws_tags: true,
            subject_per_path: false,
        }
    }

    #[test]
    fn a_token_lives_no_longer_than_its_target_and_its_path_let_it() {
        assert_eq!(Path::ALL.map(|path| target().ttl_s(path)), [200, 120, 120]);
    }

    #[test]
    fn whatever_the_target_is_told_is_part_of_what_was_reviewed() {
        let reviewed = target().definition(Path::Write);
        for changed in [
            FederationTarget { audience: "other".into(), ..target() },
            FederationTarget { ttl_s: 201, ..target() },
            FederationTarget { session_s: 901, ..target() },
            FederationTarget { aws_tags: false, ..target() },
            FederationTarget { subject_per_path: true, ..target() },
        ] {
            assert_ne!(changed.definition(Path::Write), reviewed, "{changed:?}");
        }
        assert_ne!(target().definition(Path::Admin), reviewed);
    }

    #[test]
    fn a_role_or_a_session_that_a_target_could_read_otherwise_is_refused() {
        assert!(is_role("arn:aws:iam::111122223333:role/refunds") && is_session_name("refund-17"));
        for text in ["", "a b", "a\n", "rôle", "a*", "a,b", "$x", &"a".repeat(257)] {
            assert!(!is_role(text), "{text:?}");
        }
        for text in ["", "a", "a b", "a/b", "é1", "a*b", &"a".repeat(65)] {
            assert!(!is_session_name(text), "{text:?}");
        }
    }
}
