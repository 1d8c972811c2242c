//! What a person reviewed: resources and the operations they offer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{ActionName, Digest, EffectClass, FederationTarget, Path, ResourceName};

/// How a reviewed argument is read before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentKind {
    /// Text, compared exactly after Unicode normalisation (NFC).
    Text,
    /// A number, compared by value.
    Number,
    /// An email address.
    Email,
    /// An absolute URL.
    Url,
    /// A file path, compared by component.
    FilePath,
    /// A SQL statement. Needs the SQL classifier; without it the operation is admin.
    Sql,
    /// Code or a shell command. Has no parser; the operation is admin.
    Code,
}

/// What sort of thing an operation is at its resource: the middle part of its action name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationKind {
    /// An MCP tool.
    Tool,
    /// A read of an MCP resource.
    Resource,
    /// An MCP prompt.
    Prompt,
    /// A protocol method that names no item, such as `completion/complete`.
    Method,
    /// A token for a federation target, on the path it is named for.
    Federation,
}

impl OperationKind {
    /// The middle part of the action name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::Prompt => "prompt",
            Self::Method => "method",
            Self::Federation => "federation",
        }
    }
}

/// One operation a reviewer put on a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// Its action name.
    pub action: ActionName,
    /// The path it travels on.
    pub path: Path,
    /// What it does.
    pub effect: EffectClass,
    /// How its arguments are read. One not named here is read by its JSON type.
    #[serde(default)]
    pub arguments: BTreeMap<String, ArgumentKind>,
    /// The digest of the definition the reviewer saw.
    pub pin: Digest,
    /// The definition itself, for validating arguments against its schema.
    pub definition: serde_json::Value,
}

/// The label of a resource whose answers somebody outside may have written. Who reads there is marked.
pub(crate) const UNTRUSTED: &str = "untrusted";

/// A resource and its reviewed operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its name.
    pub name: ResourceName,
    /// Where it lives: `production`, `staging`, `development` or another word of the operator's.
    pub environment: String,
    /// Labels policy can speak of. `unsplit` is set where paths share one upstream credential;
    /// `untrusted` says that what is read there may come from anybody.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Where it is and how Carnet reaches it.
    pub upstream: Upstream,
    /// The reviewed operations by action name.
    #[serde(default)]
    pub operations: BTreeMap<ActionName, Registered>,
}

impl Resource {
    /// Whether somebody outside may have written what is read there.
    pub fn is_untrusted(&self) -> bool {
        self.labels.contains(UNTRUSTED)
    }

    /// The reviewed operation named `action`.
    pub fn registered(&self, action: &ActionName) -> Option<&Registered> {
        self.operations.get(action)
    }
}

/// Where a resource is, and the credential of each path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// How it is reached.
    pub transport: Transport,
    /// Which sealed secret each path travels with, by its name in the vault.
    #[serde(default)]
    pub credentials: BTreeMap<Path, SecretRef>,
}

/// How a resource is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Transport {
    /// Streamable HTTP at this URL.
    Http {
        /// The MCP endpoint.
        url: String,
    },
    /// A child process that speaks MCP on its standard input and output.
    Stdio {
        /// The absolute path of the program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// The user it runs as. Without one it runs as Carnet itself, which only a trial may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_as: Option<RunAs>,
    },
    /// None: it takes tokens of Carnet's own, which the agent carries there itself.
    Federation(FederationTarget),
}

/// The user and the group a child process runs as, by number. It belongs to no other group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAs {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Where a secret is. The secret itself is never part of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// The file or the environment variable that holds it.
    pub source: SecretSource,
    /// For a child process: the environment variable it is handed in. For HTTP it is sent as a
    /// bearer token.
    #[serde(default)]
    pub as_variable: Option<String>,
}

/// What holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// A file, read at each use.
    File(String),
    /// An environment variable of Carnet's own process.
    Env(String),
}
