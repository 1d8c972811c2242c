//! An operation: one concrete attempt in canonical form.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ActionName, Digest, DigestError, EffectClass, Path, Registered, ResourceName};

/// The deepest nesting of arguments.
pub(crate) const ARGUMENT_DEPTH_MAX: usize = 32;
/// The most members and elements in one call's arguments, at all levels together.
const ARGUMENT_NODES_MAX: usize = 4096;

/// What names begin with that a JSON reader does not read as names: what stands under them would
/// be read again, as something else than was decided on.
const RESERVED_NAMES: &str = "$serde_json::private::";

/// Whether a member must not be named `name`, at any depth.
pub fn is_reserved_name(name: &str) -> bool {
    name.starts_with(RESERVED_NAMES)
}

/// The arguments of one call: a JSON object within bounds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Arguments(Map<String, Value>);

/// Why arguments are refused before they are compared with anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Nested too deep.
    #[error("the arguments are nested deeper than {ARGUMENT_DEPTH_MAX} levels")]
    TooDeep,
    /// Too many members and elements.
    #[error("the arguments have more than {ARGUMENT_NODES_MAX} members and elements")]
    TooMany,
    /// A name that means something else to a JSON reader than a name.
    #[error("a member of the arguments has a reserved name: use another")]
    Reserved,
}

fn count_nodes(value: &Value, depth: usize) -> Result<usize, ArgumentsError> {
    if depth > ARGUMENT_DEPTH_MAX {
        return Err(ArgumentsError::TooDeep);
    }
    let children: &mut dyn Iterator<Item = &Value> = match value {
        Value::Array(items) => &mut items.iter(),
        Value::Object(members) => {
            if members.keys().any(|name| is_reserved_name(name)) {
                return Err(ArgumentsError::Reserved);
            }
            &mut members.values()
        }
        _ => return Ok(1),
    };
    let mut nodes: usize = 1;
    for child in children {
        nodes = nodes.saturating_add(count_nodes(child, depth + 1)?);
        if nodes > ARGUMENT_NODES_MAX {
            return Err(ArgumentsError::TooMany);
        }
    }
    Ok(nodes)
}

impl TryFrom<Map<String, Value>> for Arguments {
    type Error = ArgumentsError;
    fn try_from(members: Map<String, Value>) -> Result<Self, ArgumentsError> {
        let value = Value::Object(members);
        count_nodes(&value, 0)?;
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Ok(Self::default()),
        }
    }
}

impl From<Arguments> for Map<String, Value> {
    fn from(arguments: Arguments) -> Self {
        arguments.0
    }
}

impl Arguments {
    /// The argument named `name`.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Every argument, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        let mut members: Vec<_> =
            self.0.iter().map(|(name, value)| (name.as_str(), value)).collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        members.into_iter()
    }

    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why an operation could not be formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// The arguments are out of bounds.
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    /// The arguments have no canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// One concrete attempt. Its path and effect class come from the registry, never from the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    action: ActionName,
    resource: ResourceName,
    path: Path,
    effect: EffectClass,
    pin: Digest,
    arguments: Arguments,
    arguments_digest: Digest,
}

impl Operation {
    /// The attempt to do `registered` on `resource` with `arguments`.
    pub fn new(
        resource: ResourceName,
        registered: &Registered,
        arguments: Arguments,
    ) -> Result<Self, OperationError> {
        let arguments_digest = Digest::of_json(&arguments.0)?;
        Ok(Self {
            action: registered.action.clone(),
            resource,
            path: registered.path,
            effect: registered.effect,
            pin: registered.pin,
            arguments,
            arguments_digest,
        })
    }

    /// What is attempted.
    pub fn action(&self) -> &ActionName {
        &self.action
    }

    /// At which resource.
    pub fn resource(&self) -> &ResourceName {
        &self.resource
    }

    /// On which path it must travel.
    pub fn path(&self) -> Path {
        self.path
    }

    /// What it does, as reviewed.
    pub fn effect(&self) -> EffectClass {
        self.effect
    }

    /// The digest of the definition the reviewer saw.
    pub fn pin(&self) -> Digest {
        self.pin
    }

    /// With which arguments.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// The digest of the canonical arguments.
    pub fn arguments_digest(&self) -> Digest {
        self.arguments_digest
    }
}
