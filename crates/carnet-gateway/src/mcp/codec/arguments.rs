//! Arguments against the schema a reviewer saw.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use carnet_core::{Digest, OperationKind};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value, json};

use super::cost;
use super::json::{folded, quoted};
use super::pin::pin;

/// The longest schema, as it is written compactly.
const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// The most memory one compiled pattern takes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// The longest pointer in an error.
const POINTER_CHARS_MAX: usize = 256;

/// Why a definition's schema cannot be used. Such a tool cannot be registered or called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The definition has none, or it is no schema.
    #[error("the definition has no usable schema: give `inputSchema` an object schema")]
    NotSchema,
    /// A dialect that is not read.
    #[error("the schema's `$schema` is not 2020-12, 2019-09 or draft-07")]
    Dialect,
    /// A reference that leads out of the schema, or whose target depends on the values.
    #[error("the schema has a reference other than a `$ref` to a place within it")]
    Reference,
    /// Too long, too deep or too many parts.
    #[error("the schema is larger than the bounds")]
    TooBig,
    /// It could make a validator run for ever, or nearly.
    #[error("the schema applies too many parts of itself to one value")]
    Costly,
    /// It does not compile; its patterns must run in linear time, without look-around.
    #[error("the schema does not compile: see `{at}`")]
    Uncompilable {
        /// Where, as far as is known: a JSON pointer.
        at: String,
    },
    /// The definition is not the one that was pinned.
    #[error("the definition does not match its pin")]
    Pin,
}

/// Why arguments are refused: where and by which rule, never with which value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the argument at `{at}` breaks the rule `{rule}` of the tool's schema")]
pub struct ArgumentError {
    /// A JSON pointer into the arguments, empty for all of them.
    pub at: String,
    /// The keyword of the schema.
    pub rule: String,
}

/// A compiled schema.
pub struct Schema {
    validator: Option<Validator>,
    depth_max: usize,
    declared: BTreeSet<String>,
    /// What the names are looked up in.
    source: Value,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("declared", &self.declared).finish_non_exhaustive()
    }
}

impl Schema {
    /// The schema for the arguments of an operation of `kind` with `definition`.
    ///
    /// A tool has its `inputSchema`; a prompt's list of arguments becomes one; what is neither has
    /// no schema, and its parameters were checked when it was classified.
    pub fn of(kind: OperationKind, definition: &Value) -> Result<Self, SchemaError> {
        match kind {
            OperationKind::Tool => {
                Self::compile(definition.get("inputSchema").ok_or(SchemaError::NotSchema)?)
            }
            OperationKind::Prompt => Self::compile(&prompt_schema(definition)?),
            OperationKind::Resource | OperationKind::Method => {
                let depth_max = cost::ARGUMENT_DEPTH_MAX;
                let (declared, source) = (BTreeSet::new(), Value::Null);
                Ok(Self { validator: None, depth_max, declared, source })
            }
            // No server has one: its tokens are at the token endpoint.
            OperationKind::Federation => Err(SchemaError::NotSchema),
        }
    }

    /// Compiles a JSON schema: nothing is fetched, and every pattern runs in linear time.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let Value::Object(members) = schema else { return Err(SchemaError::NotSchema) };
        if schema.to_string().len() > SCHEMA_BYTES_MAX {
            return Err(SchemaError::TooBig);
        }
        let draft = dialect(members)?;
        // The schema's own name would let its references mean another document.
        let mut members = members.clone();
        members.remove("$id");
        let declared = match members.get("properties") {
            Some(Value::Object(properties)) => properties.keys().cloned().collect(),
            _ => BTreeSet::new(),
        };
        let schema = Value::Object(members);
        let depth_max = cost::depth_max(&schema)?;
        let validator = jsonschema::options()
            .with_draft(draft)
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
            .build(&schema)
            .map_err(|error| SchemaError::Uncompilable { at: pointer(error.schema_path()) })?;
        Ok(Self { validator: Some(validator), depth_max, declared, source: schema })
    }

    /// Whether `arguments` fit; if not, the first rule they break.
    pub fn check(&self, arguments: &Map<String, Value>) -> Result<(), ArgumentError> {
        let mut nodes_left = cost::ARGUMENT_NODES_MAX;
        let over =
            arguments.values().find_map(|value| over(value, self.depth_max, &mut nodes_left));
        if let Some(rule) = over {
            return Err(ArgumentError { at: String::new(), rule: rule.to_owned() });
        }
        let Some(validator) = &self.validator else { return Ok(()) };
        let instance = Value::Object(arguments.clone());
        if let Some(at) = misnamed(&self.source, &instance) {
            return Err(ArgumentError { at: pointer(&at), rule: "properties".to_owned() });
        }
        validator.validate(&instance).map_err(|error| {
            let mut at = pointer(error.instance_path());
            // What is missing has no place of its own; its name is the reviewer's.
            if let ValidationErrorKind::Required { property: Value::String(name) } = error.kind() {
                at = format!("{at}/{}", pointer(name));
            }
            ArgumentError { at, rule: quoted(error.kind().keyword()) }
        })
    }

    /// The arguments the schema does not name, for a policy that wants every one named.
    pub fn undeclared<'a>(&self, arguments: &'a Map<String, Value>) -> Vec<&'a str> {
        let names = arguments.keys().map(String::as_str);
        names.filter(|name| !self.declared.contains(*name)).collect()
    }
}

fn pointer(location: &impl fmt::Display) -> String {
    location.to_string().chars().take(POINTER_CHARS_MAX).flat_map(char::escape_debug).collect()
}

/// The bound that `value`, which may be nested `levels` deep, goes over.
fn over(value: &Value, levels: usize, nodes_left: &mut usize) -> Option<&'static str> {
    let Some(left) = nodes_left.checked_sub(1) else { return Some("maxNodes") };
    *nodes_left = left;
    let Some(below) = levels.checked_sub(1) else { return Some("maxDepth") };
    match value {
        Value::Array(items) => items.iter().find_map(|item| over(item, below, nodes_left)),
        Value::Object(members) => members.values().find_map(|item| over(item, below, nodes_left)),
        _ => None,
    }
}

/// Where `value` has a name that differs from a declared one only in case: a reader that folds case
/// takes it for the declared one, and neither a binding nor a policy on that one would see it.
fn misnamed(schema: &Value, value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object)?;
            let undeclared: BTreeSet<String> = members
                .keys()
                .filter(|name| !properties.contains_key(*name))
                .map(|name| folded(name))
                .collect();
            let is_alike =
                |name: &String| !undeclared.is_empty() && undeclared.contains(&folded(name));
            if let Some(name) = properties.keys().find(|name| is_alike(name)) {
                return Some(format!("/{name}"));
            }
            members.iter().find_map(|(name, member)| {
                misnamed(properties.get(name)?, member).map(|at| format!("/{name}{at}"))
            })
        }
        Value::Array(items) => {
            let inner = schema.get("items")?;
            items
                .iter()
                .enumerate()
                .find_map(|(index, item)| misnamed(inner, item).map(|at| format!("/{index}{at}")))
        }
        _ => None,
    }
}

fn dialect(schema: &Map<String, Value>) -> Result<Draft, SchemaError> {
    let Some(named) = schema.get("$schema") else { return Ok(Draft::Draft202012) };
    let named = named.as_str().ok_or(SchemaError::Dialect)?.trim_end_matches('#');
    let (_, document) = named.split_once("://json-schema.org/").ok_or(SchemaError::Dialect)?;
    match document {
        "draft/2020-12/schema" => Ok(Draft::Draft202012),
        "draft/2019-09/schema" => Ok(Draft::Draft201909),
        "draft-07/schema" => Ok(Draft::Draft7),
        _ => Err(SchemaError::Dialect),
    }
}

/// A prompt lists its arguments by name; each is a text.
fn prompt_schema(definition: &Value) -> Result<Value, SchemaError> {
    let none = Vec::new();
    let listed = match definition.get("arguments") {
        None => &none,
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(SchemaError::NotSchema),
    };
    let mut properties = Map::new();
    let mut required = Vec::new();
    for argument in listed {
        let name = argument.get("name").and_then(Value::as_str).ok_or(SchemaError::NotSchema)?;
        properties.insert(name.to_owned(), json!({ "type": "string" }));
        if argument.get("required") == Some(&Value::Bool(true)) {
            required.push(name);
        }
    }
    Ok(json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    }))
}

/// Compiled schemas by the pin of their definition.
#[derive(Debug)]
pub struct Schemas {
    compiled: Mutex<Compiled>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Compiled {
    by_pin: HashMap<(OperationKindKey, Digest), Arc<Schema>>,
    oldest_first: VecDeque<(OperationKindKey, Digest)>,
}

type OperationKindKey = &'static str;

impl Schemas {
    /// A store of at most `capacity` schemas; the oldest makes room.
    pub fn new(capacity: usize) -> Self {
        Self { compiled: Mutex::default(), capacity: capacity.max(1) }
    }

    /// The schema of `definition`, compiled once for its `pin`.
    pub fn compiled(
        &self,
        kind: OperationKind,
        pinned: Digest,
        definition: &Value,
    ) -> Result<Arc<Schema>, SchemaError> {
        let key = (kind.as_str(), pinned);
        if let Some(schema) = self.lock().by_pin.get(&key) {
            return Ok(Arc::clone(schema));
        }
        if pin(definition) != Ok(pinned) {
            return Err(SchemaError::Pin);
        }
        let schema = Arc::new(Schema::of(kind, definition)?);
        let mut compiled = self.lock();
        if compiled.by_pin.insert(key, Arc::clone(&schema)).is_none() {
            compiled.oldest_first.push_back(key);
        }
        while compiled.oldest_first.len() > self.capacity {
            if let Some(oldest) = compiled.oldest_first.pop_front() {
                compiled.by_pin.remove(&oldest);
            }
        }
        Ok(schema)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Compiled> {
        // Nothing here is left half done, so a panic elsewhere leaves the store whole.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
