//! How often a schema can make a validator look at one value, found before the schema is used.
//!
//! A small schema can cost exponential time: `allOf` of two references to a definition that is
//! `allOf` of two references, and so on, or a recursive union. The cost of a schema at a nesting of
//! `d` levels is counted here over the graph of its sub-schemas, and arguments may then be nested
//! only as deep as stays within the bound.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::arguments::SchemaError;

/// The most sub-schemas.
const SCHEMAS_MAX: usize = 4096;
/// The deepest nesting of one schema.
const SCHEMA_DEPTH_MAX: usize = 48;
/// The most sub-schemas that apply to the same value one inside the other.
const IN_PLACE_DEPTH_MAX: usize = 48;
/// The most looks at the values on one way down from the arguments.
const LOOKS_MAX: u64 = 1 << 15;
/// The deepest nesting of arguments.
pub(super) const ARGUMENT_DEPTH_MAX: usize = 32;
/// The most values in arguments, at all levels together.
pub(super) const ARGUMENT_NODES_MAX: usize = 4096;

/// Keywords whose reference is found only while validating, or that move what references mean.
const REFUSED: &[&str] =
    &["$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor", "$anchor", "$id"];

/// The deepest nesting of arguments that `schema` can be applied to within the bound.
pub(super) fn depth_max(schema: &Value) -> Result<usize, SchemaError> {
    let mut graph = Graph { root: schema, nodes: Vec::new(), at: HashMap::new() };
    graph.collect(schema, 0)?;
    graph.resolve()?;
    let mut below: Vec<Looks> = vec![Looks { object: 1, array: 1 }; graph.nodes.len()];
    let mut deepest = None;
    for depth in 0..=ARGUMENT_DEPTH_MAX {
        let level = graph.level(&below, depth == 0)?;
        if level.first().is_none_or(|root| root.any() > LOOKS_MAX) {
            break;
        }
        deepest = Some(depth);
        below = level;
    }
    deepest.ok_or(SchemaError::Costly)
}

/// How many sub-schemas look at a value and at what is below it, if it is an object or an array.
#[derive(Clone, Copy)]
struct Looks {
    object: u64,
    array: u64,
}

impl Looks {
    fn any(self) -> u64 {
        self.object.max(self.array)
    }
}

#[derive(Default)]
struct Node {
    /// Applied to the same value.
    in_place: Vec<usize>,
    /// Applied to members of which no two are the same.
    members: Vec<usize>,
    /// Applied to any member.
    any_member: Vec<usize>,
    /// Applied to elements of which no two are the same.
    elements: Vec<usize>,
    /// Applied to any element.
    any_element: Vec<usize>,
    /// Where `$ref` leads.
    reference: Option<String>,
}

struct Graph<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// Which node a value of the schema is, by its address.
    at: HashMap<usize, usize>,
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value) as usize
}

impl<'a> Graph<'a> {
    fn collect(&mut self, schema: &'a Value, depth: usize) -> Result<usize, SchemaError> {
        if depth > SCHEMA_DEPTH_MAX || self.nodes.len() >= SCHEMAS_MAX {
            return Err(SchemaError::TooBig);
        }
        let index = self.nodes.len();
        self.nodes.push(Node::default());
        self.at.insert(address(schema), index);
        let node = match schema {
            Value::Object(members) => self.keywords(members, depth + 1)?,
            Value::Bool(_) => Node::default(),
            _ => return Err(SchemaError::NotSchema),
        };
        if let Some(place) = self.nodes.get_mut(index) {
            *place = node;
        }
        Ok(index)
    }

    fn keywords(
        &mut self,
        members: &'a Map<String, Value>,
        depth: usize,
    ) -> Result<Node, SchemaError> {
        let mut node = Node::default();
        for (keyword, value) in members {
            match keyword.as_str() {
                "$ref" => {
                    let reference = value.as_str().ok_or(SchemaError::NotSchema)?;
                    node.reference = Some(reference.to_owned());
                }
                "allOf" | "anyOf" | "oneOf" => self.list(value, depth, &mut node.in_place)?,
                "not" | "if" | "then" | "else" => self.one(value, depth, &mut node.in_place)?,
                "dependentSchemas" | "dependencies" => {
                    self.map(value, depth, &mut node.in_place)?;
                }
                "properties" => self.map(value, depth, &mut node.members)?,
                "patternProperties" => self.map(value, depth, &mut node.any_member)?,
                "additionalProperties" | "unevaluatedProperties" | "propertyNames" => {
                    self.one(value, depth, &mut node.any_member)?;
                }
                "prefixItems" => self.list(value, depth, &mut node.elements)?,
                // A list in the older drafts.
                "items" if value.is_array() => self.list(value, depth, &mut node.elements)?,
                "items" | "additionalItems" | "unevaluatedItems" | "contains" => {
                    self.one(value, depth, &mut node.any_element)?;
                }
                "$defs" | "definitions" => self.map(value, depth, &mut Vec::new())?,
                keyword if REFUSED.contains(&keyword) => return Err(SchemaError::Reference),
                _ => {}
            }
        }
        Ok(node)
    }

    fn one(
        &mut self,
        value: &'a Value,
        depth: usize,
        into: &mut Vec<usize>,
    ) -> Result<(), SchemaError> {
        into.push(self.collect(value, depth)?);
        Ok(())
    }

    fn list(
        &mut self,
        value: &'a Value,
        depth: usize,
        into: &mut Vec<usize>,
    ) -> Result<(), SchemaError> {
        let schemas = value.as_array().ok_or(SchemaError::NotSchema)?;
        schemas.iter().try_for_each(|schema| self.one(schema, depth, into))
    }

    fn map(
        &mut self,
        value: &'a Value,
        depth: usize,
        into: &mut Vec<usize>,
    ) -> Result<(), SchemaError> {
        let schemas = value.as_object().ok_or(SchemaError::NotSchema)?;
        // `dependencies` may also hold lists of names.
        let mut schemas = schemas.values().filter(|schema| !schema.is_array());
        schemas.try_for_each(|schema| self.one(schema, depth, into))
    }

    fn resolve(&mut self) -> Result<(), SchemaError> {
        for node in &mut self.nodes {
            let Some(reference) = node.reference.take() else { continue };
            let pointer = reference.strip_prefix('#').ok_or(SchemaError::Reference)?;
            let plain = (pointer.is_empty() || pointer.starts_with('/')) && !pointer.contains('%');
            let target = self.root.pointer(pointer).filter(|_| plain);
            let target = target.and_then(|target| self.at.get(&address(target)));
            node.in_place.push(*target.ok_or(SchemaError::Reference)?);
        }
        Ok(())
    }

    /// The looks of every node at one nesting more than `below`.
    fn level(&self, below: &[Looks], is_leaf: bool) -> Result<Vec<Looks>, SchemaError> {
        let mut level = Level {
            graph: self,
            below: if is_leaf { &[] } else { below },
            looks: vec![None; self.nodes.len()],
            open: vec![false; self.nodes.len()],
        };
        for index in 0..self.nodes.len() {
            level.looks(index, 0)?;
        }
        Ok(level.looks.into_iter().flatten().collect())
    }
}

/// A sum that has lost its meaning long before it overflows.
fn bounded(one: u64, other: u64) -> u64 {
    one.saturating_add(other).min(LOOKS_MAX.saturating_mul(2))
}

struct Level<'a> {
    graph: &'a Graph<'a>,
    below: &'a [Looks],
    looks: Vec<Option<Looks>>,
    open: Vec<bool>,
}

impl Level<'_> {
    fn looks(&mut self, index: usize, depth: usize) -> Result<Looks, SchemaError> {
        if let Some(Some(looks)) = self.looks.get(index) {
            return Ok(*looks);
        }
        let Some(node) = self.graph.nodes.get(index) else { return Err(SchemaError::NotSchema) };
        // A schema that applies itself to the same value never ends.
        if depth > IN_PLACE_DEPTH_MAX || self.open.get(index).is_none_or(|open| *open) {
            return Err(SchemaError::Costly);
        }
        self.mark(index, true);
        let mut looks = Looks {
            object: bounded(1, bounded(self.most(&node.members), self.sum(&node.any_member))),
            array: bounded(1, bounded(self.most(&node.elements), self.sum(&node.any_element))),
        };
        for child in &node.in_place {
            let child = self.looks(*child, depth + 1)?;
            looks.object = bounded(looks.object, child.object);
            looks.array = bounded(looks.array, child.array);
        }
        self.mark(index, false);
        if let Some(place) = self.looks.get_mut(index) {
            *place = Some(looks);
        }
        Ok(looks)
    }

    fn mark(&mut self, index: usize, open: bool) {
        if let Some(place) = self.open.get_mut(index) {
            *place = open;
        }
    }

    fn below(&self, index: usize) -> u64 {
        self.below.get(index).map_or(0, |looks| looks.any())
    }

    fn most(&self, children: &[usize]) -> u64 {
        children.iter().map(|child| self.below(*child)).max().unwrap_or(0)
    }

    fn sum(&self, children: &[usize]) -> u64 {
        children.iter().map(|child| self.below(*child)).fold(0, u64::saturating_add)
    }
}
