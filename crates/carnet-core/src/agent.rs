//! Agents, their running instances, and users.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AgentName, Digest, InstanceId, Intent, NameError, Timestamp, UserName};

/// A registered kind of workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its name, the last part of its SPIFFE ID.
    pub name: AgentName,
    /// Who answers for it. Mandatory.
    pub owner: Owner,
    /// Where it runs: `production`, `staging`, `development` or another word of the operator's.
    pub environment: String,
    /// What a running copy on Carnet's own machine must be to be this agent, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selectors: Option<Selectors>,
    /// Who else vouches for its running copies, and by what name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Identity>,
    /// What it may always read without ceremony, where policy lets it.
    #[serde(default)]
    pub standing: Option<Intent>,
    /// Whether it may present an unbound token on the read path.
    #[serde(default)]
    pub bearer_read: bool,
}

/// Who answers for an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Owner {
    /// A person.
    User(UserName),
    /// A team.
    Team(UserName),
}

/// Why a text is not an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// Neither a user nor a team.
    #[error("`{0}` is not an owner: write `user:NAME` or `team:NAME`")]
    Kind(String),
    /// The name is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What a running copy must be. The uid is the primary selector; the others narrow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selectors {
    /// The user id the workload runs as.
    pub uid: u32,
    /// The group id, where it matters.
    #[serde(default)]
    pub gid: Option<u32>,
    /// The absolute path of its executable, where it matters.
    #[serde(default)]
    pub executable: Option<String>,
    /// The digest of its executable, where it matters.
    #[serde(default)]
    pub executable_digest: Option<Digest>,
}

/// The name another authority gave an agent's running copies. It is compared exactly; there are no
/// patterns in it, and one identity is one agent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Identity {
    /// A SPIFFE ID of another trust domain.
    Spiffe {
        /// The SPIFFE ID.
        id: String,
    },
    /// The subject of the tokens of an OIDC issuer: a Kubernetes service account, a CI job.
    Oidc {
        /// The issuer, as its tokens name it.
        issuer: String,
        /// The subject, as its tokens name it.
        subject: String,
    },
    /// An OAuth client.
    Client {
        /// Its `client_id`.
        id: String,
        /// The public keys it authenticates with, as a JSON Web Key Set; none where its
        /// `client_id` is the address of a document that says what it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<serde_json::Value>,
        /// Where its answers may go when it acts for a person; none where its own document says so.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        redirect_uris: Vec<String>,
    },
}

impl Identity {
    /// The OAuth client named `id`, whatever else is known of it.
    pub fn client(id: &str) -> Self {
        Self::Client { id: id.to_owned(), keys: None, redirect_uris: Vec::new() }
    }

    /// Whether `other` names the same workload. Its keys may be others.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Client { id, .. }, Self::Client { id: other, .. }) => id == other,
            _ => self == other,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe { id } => f.write_str(id),
            Self::Oidc { issuer, subject } => write!(f, "{subject} of {issuer}"),
            Self::Client { id, .. } => write!(f, "client {id}"),
        }
    }
}

/// One attested running copy of an agent, with its own key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// What it is a copy of.
    pub agent: AgentName,
    /// The thumbprint (RFC 7638) of the key it proved, where it proved one.
    pub thumbprint: Option<String>,
    /// When it was first seen.
    pub seen_at: Timestamp,
    /// Whether it has read something untrusted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Their name.
    pub name: UserName,
    /// The teams they belong to.
    #[serde(default)]
    pub teams: BTreeSet<String>,
    /// By what names identity providers vouch for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<Login>,
}

/// The name an identity provider has for a person. One login is one person's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The identity provider, as its tokens name it.
    pub issuer: String,
    /// The person, as its tokens name them: compared exactly.
    pub subject: String,
}

impl Owner {
    /// Whether somebody among `users` is the owner, or in the team that is.
    pub fn is_among(&self, users: &[User]) -> bool {
        users.iter().any(|user| match self {
            Self::User(name) => user.name == *name,
            Self::Team(team) => user.teams.contains(team.as_str()),
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Team(name) => write!(f, "team:{name}"),
        }
    }
}

impl FromStr for Owner {
    type Err = OwnerError;
    fn from_str(text: &str) -> Result<Self, OwnerError> {
        match text.split_once(':') {
            Some(("user", name)) => Ok(Self::User(name.parse()?)),
            Some(("team", name)) => Ok(Self::Team(name.parse()?)),
            _ => Err(OwnerError::Kind(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Owner {
    type Error = OwnerError;
    fn try_from(text: String) -> Result<Self, OwnerError> {
        text.parse()
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.to_string()
    }
}
