//! Strict JSON: one reading for every reader, or none.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use carnet_core::is_reserved_name;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The largest integer every reader agrees on: 2^53 − 1.
pub(crate) const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;
const SAFE_FLOAT_MAX: f64 = SAFE_INTEGER_MAX as f64;
/// The longest member name quoted in an error.
const QUOTED_CHARS_MAX: usize = 64;

/// Which numbers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Only those within ±(2^53 − 1). Beyond it two integers can share one canonical form, so what
    /// was decided on would not be what is sent.
    Safe,
    /// Any that fit a double: for what is passed on and never decided on.
    Any,
}

/// Which names may stand side by side in one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Only those that differ in more than case: a reader that folds case takes two that do not for
    /// one, and so reads another message than was decided on.
    Folded,
    /// Any two that differ: for what is passed on and never decided on.
    Exact,
}

/// The bounds of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes.
    pub bytes_max: usize,
    /// The deepest nesting of objects and arrays.
    pub depth_max: usize,
    /// The most values, at all levels together.
    pub nodes_max: usize,
    /// Which numbers are read.
    pub numbers: Numbers,
    /// Which names are read.
    pub names: Names,
}

impl Limits {
    /// The bounds of what an agent sends.
    pub const REQUEST: Self = Self {
        bytes_max: 1 << 20,
        depth_max: 64,
        nodes_max: 1 << 16,
        numbers: Numbers::Safe,
        names: Names::Folded,
    };
    /// The bounds of what a server sends.
    pub const ANSWER: Self = Self {
        bytes_max: 16 << 20,
        depth_max: 96,
        nodes_max: 1 << 20,
        numbers: Numbers::Any,
        names: Names::Exact,
    };
}

/// Why a text is not read. The text itself is never part of the message, member names excepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than the bound.
    #[error("the message is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// Not UTF-8.
    #[error("the message is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first byte that is not.
        at: usize,
    },
    /// Not JSON, or JSON and something after it.
    #[error("the message is not one JSON value: line {line}, column {column}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// Nested too deep.
    #[error("the message is nested deeper than {depth_max} levels")]
    TooDeep {
        /// The bound.
        depth_max: usize,
    },
    /// Too many values.
    #[error("the message has more than {nodes_max} values")]
    TooMany {
        /// The bound.
        nodes_max: usize,
    },
    /// A member is named twice, so that two readers may see two messages.
    #[error("the member `{name}` is there twice in one object: send it once")]
    Duplicate {
        /// The name, cut short and escaped.
        name: String,
    },
    /// Two names of one object differ only in case, so that two readers may see two messages.
    #[error("`{name}` and another member of one object differ only in case: send one of them")]
    Alike {
        /// The later name, cut short and escaped.
        name: String,
    },
    /// A name that means something else to a JSON reader than a name.
    #[error("the member name `{name}` is reserved: use another")]
    Reserved {
        /// The name, cut short and escaped.
        name: String,
    },
    /// A number beyond ±(2^53 − 1).
    #[error("a number is beyond ±9007199254740991: send it as text")]
    Number,
}

/// A JSON value and the very bytes it was read from.
#[derive(Debug, Clone)]
pub struct Document {
    value: Value,
    bytes: Bytes,
}

impl Document {
    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The original bytes: what is sent on.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Both.
    pub fn into_parts(self) -> (Value, Bytes) {
        (self.value, self.bytes)
    }
}

/// Reads `bytes` as exactly one JSON value within `limits`.
pub fn read(bytes: Bytes, limits: &Limits) -> Result<Document, JsonError> {
    if bytes.len() > limits.bytes_max {
        return Err(JsonError::TooLong { bytes_max: limits.bytes_max });
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() })?;
    let reading = Reading { limits, nodes: Cell::new(0), refused: RefCell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Node { reading: &reading, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| reading.error(&error))?;
    Ok(Document { value, bytes })
}

/// What one reading remembers from value to value.
struct Reading<'a> {
    limits: &'a Limits,
    nodes: Cell<usize>,
    refused: RefCell<Option<JsonError>>,
}

impl Reading<'_> {
    fn error(&self, error: &serde_json::Error) -> JsonError {
        let syntax = JsonError::Syntax { line: error.line(), column: error.column() };
        self.refused.borrow_mut().take().unwrap_or(syntax)
    }

    fn refuse<E: serde::de::Error>(&self, error: JsonError) -> E {
        *self.refused.borrow_mut() = Some(error);
        E::custom("refused")
    }

    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        let nodes = self.nodes.get().saturating_add(1);
        self.nodes.set(nodes);
        if nodes > self.limits.nodes_max {
            return Err(self.refuse(JsonError::TooMany { nodes_max: self.limits.nodes_max }));
        }
        Ok(())
    }

    fn check_name<E: serde::de::Error>(
        &self,
        name: &str,
        seen: &mut HashSet<String>,
    ) -> Result<(), E> {
        if is_reserved_name(name) {
            return Err(self.refuse(JsonError::Reserved { name: quoted(name) }));
        }
        if self.limits.names == Names::Folded && !seen.insert(folded(name)) {
            return Err(self.refuse(JsonError::Alike { name: quoted(name) }));
        }
        Ok(())
    }

    fn number<E: serde::de::Error>(&self, number: Number) -> Result<Value, E> {
        if self.limits.numbers == Numbers::Safe && !is_safe(&number) {
            return Err(self.refuse(JsonError::Number));
        }
        Ok(Value::Number(number))
    }
}

/// Whether a number is within ±(2^53 − 1).
pub(crate) fn is_safe(number: &Number) -> bool {
    number.as_f64().is_some_and(|float| float.abs() <= SAFE_FLOAT_MAX)
}

/// A name as it may stand in an error: short, and with nothing a terminal would act on.
pub(crate) fn quoted(name: &str) -> String {
    name.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect()
}

/// A name as readers that ignore case compare it: simple case folding and more, U+017F and U+212A
/// included.
pub(super) fn folded(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Some letters meet in their capital, some in their small form: both ways make one of them.
    let small = name.chars().flat_map(char::to_lowercase);
    small.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[derive(Clone, Copy)]
struct Node<'a> {
    reading: &'a Reading<'a>,
    depth: usize,
}

impl Node<'_> {
    fn child<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth_max = self.reading.limits.depth_max;
        if self.depth >= depth_max {
            return Err(self.reading.refuse(JsonError::TooDeep { depth_max }));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.reading.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.reading.number(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.reading.number(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| self.reading.refuse(JsonError::Number));
        self.reading.number(number?)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let child = self.child()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(child)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let child = self.child()?;
        let mut members = Map::new();
        let mut seen = HashSet::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.contains_key(&name) {
                let name = quoted(&name);
                return Err(self.reading.refuse(JsonError::Duplicate { name }));
            }
            self.reading.check_name(&name, &mut seen)?;
            let value = access.next_value_seed(child)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}
