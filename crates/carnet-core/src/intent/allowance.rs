//! The allowance: an operation pattern, bindings, and how often and how much.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::binding::Binding;
use super::duration;
use super::pattern::ActionPattern;
use super::reader::{self, Fields, IntentError, Place};
use super::tree;
use crate::Path;
use crate::value::INTEGER_MAX;

/// The most arguments one allowance may bind, and the most it may sum.
const ARGUMENTS_MAX: usize = 64;
/// The longest name of an argument.
const ARGUMENT_NAME_BYTES_MAX: usize = 128;

const KEYS: [&str; 9] =
    ["action", "path", "where", "other", "uses", "total", "approve", "delegate_only", "expires"];

/// What a task declared it will do: some operations on one path, with these arguments, this often
/// and this much.
///
/// Reading one from JSON or TOML checks its shape; [`Allowance::validate`] checks the bounds of
/// what a person may write, which one made by [`Allowance::exact`] may exceed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allowance {
    /// Which operations.
    pub action: ActionPattern,
    /// On which path. Another path is never covered, a lesser one neither.
    pub path: Path,
    /// What each argument may be. One named here must be in the call.
    #[serde(rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub where_: BTreeMap<String, Binding>,
    /// What of arguments that neither `where` nor `total` names.
    pub other: Other,
    /// How often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// The ceiling on the sum of an argument over all uses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub total: BTreeMap<String, i64>,
    /// Who must say yes, and when.
    #[serde(skip_serializing_if = "Approve::is_none")]
    pub approve: Approve,
    /// Whether it may only be handed on to a child task.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub delegate_only: bool,
    /// How long a grant of it lives, in seconds.
    #[serde(
        rename = "expires",
        skip_serializing_if = "Option::is_none",
        serialize_with = "duration::serialize"
    )]
    pub expires_s: Option<u32>,
}

/// What of an argument that no binding names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Other {
    /// It is refused. The default on write and admin.
    Deny,
    /// It may be there and be anything. The default on read.
    Any,
}

impl Other {
    /// What holds where an allowance does not say.
    pub const fn default_on(path: Path) -> Self {
        match path {
            Path::Read => Self::Any,
            Path::Write | Path::Admin => Self::Deny,
        }
    }
}

/// Whether a person must say yes, from the least to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Approve {
    /// Nobody, unless policy asks.
    #[default]
    None,
    /// Once, before the grant is active.
    UpFront,
    /// At each use.
    OnUse,
}

impl Approve {
    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl Allowance {
    /// The allowance of `action` on `path`, with no bindings, uncounted, and `other` as it is where
    /// nothing is said.
    pub fn new(action: ActionPattern, path: Path) -> Self {
        Self {
            action,
            path,
            where_: BTreeMap::new(),
            other: Other::default_on(path),
            uses: None,
            total: BTreeMap::new(),
            approve: Approve::None,
            delegate_only: false,
            expires_s: None,
        }
    }

    /// Whether it is within the bounds of what a person may write, and able to cover something.
    pub fn validate(&self) -> Result<(), IntentError> {
        self.validate_at(&Place::default())
    }

    pub(super) fn validate_at(&self, place: &Place) -> Result<(), IntentError> {
        validate_names(self.where_.keys(), &place.key("where"))?;
        validate_names(self.total.keys(), &place.key("total"))?;
        for (name, binding) in &self.where_ {
            let problem = |error| place.key("where").key(name).error(error);
            binding.validate().map_err(problem)?;
        }
        for (name, ceiling) in &self.total {
            if !(0..=INTEGER_MAX).contains(ceiling) {
                let place = place.key("total").key(name);
                return Err(place.error("write a whole number from 0 to 2^53 − 1"));
            }
        }
        if self.uses == Some(0) {
            return Err(place.key("uses").error("0 uses allow nothing; write at least 1"));
        }
        Ok(())
    }

    /// Reads the shape of an allowance.
    pub(super) fn read(value: &Value, place: &Place) -> Result<Self, IntentError> {
        let fields = Fields::of(value, place, &KEYS)?;
        let action = fields.required("action", |v, p| reader::parsed(v, p, str::parse))?;
        let path = fields.required("path", |v, p| reader::word(v, p, &PATHS))?;
        let mut allowance = Self::new(action, path);
        if let Some(bindings) = fields.optional("where", read_bindings)? {
            allowance.where_ = bindings;
        }
        if let Some(other) = fields.optional("other", |v, p| reader::word(v, p, &OTHERS))? {
            allowance.other = other;
        }
        allowance.uses = fields.optional("uses", reader::count)?;
        if let Some(total) = fields.optional("total", read_totals)? {
            allowance.total = total;
        }
        if let Some(approve) = fields.optional("approve", |v, p| reader::word(v, p, &APPROVES))? {
            allowance.approve = approve;
        }
        allowance.delegate_only = fields.optional("delegate_only", reader::truth)?.unwrap_or(false);
        allowance.expires_s =
            fields.optional("expires", |v, p| reader::parsed(v, p, duration::parse))?;
        Ok(allowance)
    }
}

const PATHS: [(&str, Path); 3] =
    [("read", Path::Read), ("write", Path::Write), ("admin", Path::Admin)];
const OTHERS: [(&str, Other); 2] = [("deny", Other::Deny), ("any", Other::Any)];
const APPROVES: [(&str, Approve); 3] =
    [("none", Approve::None), ("up_front", Approve::UpFront), ("on_use", Approve::OnUse)];

fn read_bindings(value: &Value, place: &Place) -> Result<BTreeMap<String, Binding>, IntentError> {
    reader::object(value, place)?
        .iter()
        .map(|(name, value)| Ok((name.clone(), Binding::read(value, &place.key(name))?)))
        .collect()
}

fn read_totals(value: &Value, place: &Place) -> Result<BTreeMap<String, i64>, IntentError> {
    let ceiling = |value: &Value, place: &Place| {
        let count = reader::count(value, place)?;
        i64::try_from(count).map_err(|_| place.error("write a whole number up to 2^53 − 1"))
    };
    reader::object(value, place)?
        .iter()
        .map(|(name, value)| Ok((name.clone(), ceiling(value, &place.key(name))?)))
        .collect()
}

fn validate_names<'a>(
    names: impl ExactSizeIterator<Item = &'a String>,
    place: &Place,
) -> Result<(), IntentError> {
    if names.len() > ARGUMENTS_MAX {
        return Err(place.error(format!("names more than {ARGUMENTS_MAX} arguments")));
    }
    for name in names {
        if name.is_empty() || name.len() > ARGUMENT_NAME_BYTES_MAX {
            let problem = format!(
                "the name of an argument has 1 to {ARGUMENT_NAME_BYTES_MAX} bytes; write it as the operation does"
            );
            return Err(place.key(name).error(problem));
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Allowance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = tree::read(deserializer)?;
        Self::read(&value, &Place::default()).map_err(D::Error::custom)
    }
}
