//! Federation tokens: what a cloud, or any OIDC relying party, takes from Carnet as an issuer.
//!
//! They are signed RS256 by keys of their own, which are published in a set of their own. There is no
//! verifier for them here: no place of Carnet's accepts one, and what does is somebody else's.

use std::collections::BTreeMap;

use carnet_core::{Path, ResourceName, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::Act;
use crate::error::MintError;
use crate::jws;
use crate::signing::{KeyUse, SigningKey};

/// The longest life of a federation token, on any path.
pub const FEDERATION_TTL_S_MAX: i64 = 300;

/// What a federation token says. The order of the members is the order they are signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederationClaims {
    /// Us.
    pub iss: String,
    /// The agent's SPIFFE ID; where the target tells paths by it, the path behind a `/`.
    pub sub: String,
    /// The target's audience, and no other.
    pub aud: String,
    /// When it was issued, in whole seconds.
    #[serde(with = "crate::access::seconds")]
    pub iat: Timestamp,
    /// From when it is good.
    #[serde(with = "crate::access::seconds")]
    pub nbf: Timestamp,
    /// When it dies.
    #[serde(with = "crate::access::seconds")]
    pub exp: Timestamp,
    /// Its name: the id of its lease.
    pub jti: String,
    /// Who acts, where the work was handed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// The task.
    pub carnet_task: TaskId,
    /// Its purpose, in the task's own words.
    pub carnet_purpose: String,
    /// The path.
    pub carnet_path: Path,
    /// The target, by its name here.
    pub carnet_resource: ResourceName,
    /// On whose behalf.
    pub carnet_subject: String,
    /// The role it was decided for, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carnet_role: Option<String>,
    /// The session it was decided for, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carnet_session_name: Option<String>,
    /// Session tags, for AWS.
    #[serde(
        default,
        rename = "https://aws.amazon.com/tags",
        skip_serializing_if = "Option::is_none"
    )]
    pub aws_tags: Option<AwsTags>,
    /// What AWS keeps beside every call of the session, over every role it takes on.
    #[serde(
        default,
        rename = "https://aws.amazon.com/source_identity",
        skip_serializing_if = "Option::is_none"
    )]
    pub aws_source_identity: Option<String>,
}

/// Session tags as AWS STS reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsTags {
    /// Each tag, with its one value.
    pub principal_tags: BTreeMap<String, [String; 1]>,
    /// Those that stay over every role the session takes on.
    pub transitive_tag_keys: Vec<String>,
}

/// Signs a federation token.
pub fn mint_federation(key: &SigningKey, claims: &FederationClaims) -> Result<String, MintError> {
    let ttl_s = claims.exp.s().saturating_sub(claims.iat.s());
    if !(1..=FEDERATION_TTL_S_MAX).contains(&ttl_s) {
        return Err(MintError::Ttl { ttl_s_max: FEDERATION_TTL_S_MAX });
    }
    let header = json!({ "alg": "RS256", "kid": key.kid(), "typ": "JWT" });
    jws::sign(key, KeyUse::Federation, &header, claims)
}
