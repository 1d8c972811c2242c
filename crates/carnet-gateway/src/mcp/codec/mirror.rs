//! Which arguments a tool wants repeated in headers: `x-mcp-header` in its input schema.

use std::collections::BTreeSet;

use http::HeaderName;
use serde_json::{Map, Value};

const ANNOTATION: &str = "x-mcp-header";
const HEADER_PREFIX: &str = "mcp-param-";
/// The longest name an annotation gives.
const NAME_BYTES_MAX: usize = 128;
/// The most annotations of one tool.
const MIRRORED_MAX: usize = 64;
/// How deep a schema is looked into.
const DEPTH_MAX: usize = 64;

/// The type of an argument that is repeated in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MirroredType {
    Text,
    Integer,
    Boolean,
}

/// One argument that is repeated in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// The header, `mcp-param-…`.
    pub header: HeaderName,
    /// The member names that lead to the argument.
    pub path: Vec<String>,
    pub(super) kind: MirroredType,
}

/// Why the annotations make a tool's definition invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// It stands where no argument can be read by name alone.
    #[error("`x-mcp-header` must stand on a property that only `properties` lead to")]
    Unreachable,
    /// Its value is no header name.
    #[error("`x-mcp-header` must be 1 to 128 characters of a header name")]
    Name,
    /// Two properties give the same name.
    #[error("two properties have the same `x-mcp-header`")]
    Twice,
    /// The property is not of one plain type.
    #[error("`x-mcp-header` may stand only on a string, integer or boolean")]
    Type,
    /// Too many, or too deep to look at.
    #[error("the schema has too many annotations, or is nested too deep")]
    TooMany,
}

/// The arguments that `input_schema` wants repeated in headers.
pub fn mirrored(input_schema: &Value) -> Result<Vec<Mirrored>, MirrorError> {
    let mut walk = Walk { found: Vec::new(), names: BTreeSet::new(), path: Vec::new() };
    match input_schema {
        Value::Object(schema) if schema.contains_key(ANNOTATION) => Err(MirrorError::Unreachable),
        Value::Object(schema) => walk.schema(schema, true, 0),
        _ => Ok(()),
    }?;
    Ok(walk.found)
}

struct Walk {
    found: Vec<Mirrored>,
    names: BTreeSet<String>,
    path: Vec<String>,
}

impl Walk {
    fn schema(
        &mut self,
        schema: &Map<String, Value>,
        reachable: bool,
        depth: usize,
    ) -> Result<(), MirrorError> {
        if depth > DEPTH_MAX {
            return Err(MirrorError::TooMany);
        }
        for (keyword, value) in schema {
            match (keyword.as_str(), value) {
                (ANNOTATION, _) if !reachable => return Err(MirrorError::Unreachable),
                (ANNOTATION, name) => self.note(schema, name)?,
                ("properties", Value::Object(map)) => self.map(map, reachable, depth)?,
                ("$defs" | "definitions" | "patternProperties", Value::Object(map))
                | ("dependentSchemas" | "dependencies", Value::Object(map)) => {
                    self.map(map, false, depth)?;
                }
                // Values of the instance, not schemas.
                ("default" | "const" | "enum" | "examples", _) => {}
                (_, value) => self.other(value, depth)?,
            }
        }
        Ok(())
    }

    fn map(
        &mut self,
        map: &Map<String, Value>,
        reachable: bool,
        depth: usize,
    ) -> Result<(), MirrorError> {
        for (name, schema) in map {
            let Value::Object(schema) = schema else { continue };
            self.path.push(name.clone());
            self.schema(schema, reachable, depth + 1)?;
            self.path.pop();
        }
        Ok(())
    }

    fn other(&mut self, value: &Value, depth: usize) -> Result<(), MirrorError> {
        match value {
            Value::Object(schema) => self.schema(schema, false, depth + 1),
            Value::Array(items) if depth < DEPTH_MAX => {
                items.iter().try_for_each(|item| self.other(item, depth + 1))
            }
            Value::Array(_) => Err(MirrorError::TooMany),
            _ => Ok(()),
        }
    }

    fn note(&mut self, schema: &Map<String, Value>, name: &Value) -> Result<(), MirrorError> {
        let name = name.as_str().ok_or(MirrorError::Name)?.to_ascii_lowercase();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(MirrorError::Name);
        }
        let header = HeaderName::from_bytes(format!("{HEADER_PREFIX}{name}").as_bytes())
            .map_err(|_| MirrorError::Name)?;
        let kind = match schema.get("type").and_then(Value::as_str) {
            Some("string") => MirroredType::Text,
            Some("integer") => MirroredType::Integer,
            Some("boolean") => MirroredType::Boolean,
            _ => return Err(MirrorError::Type),
        };
        if !self.names.insert(name) {
            return Err(MirrorError::Twice);
        }
        if self.found.len() >= MIRRORED_MAX {
            return Err(MirrorError::TooMany);
        }
        self.found.push(Mirrored { header, path: self.path.clone(), kind });
        Ok(())
    }
}
