//! The intent as people write it: a purpose, a deadline, a budget and `[[allow]]` tables.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::allowance::Allowance;
use super::purpose::Purpose;
use super::reader::{self, Fields, IntentError, Place};
use super::{duration, tree};

/// The most allowances of one intent.
const ALLOWANCES_MAX: usize = 64;
/// The longest intent as JSON.
const INTENT_BYTES_MAX: usize = 256 * 1024;

const KEYS: [&str; 4] = ["purpose", "deadline", "budget", "allow"];
const BUDGET_KEYS: [&str; 5] = ["rows", "spend_cents", "calls", "fan_out", "depth"];

/// What a task declares it will do.
///
/// Reading one from JSON or TOML checks everything [`Intent::validate`] checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Intent {
    /// What the task is for.
    pub purpose: Purpose,
    /// How long the task may stay open, in seconds from its opening.
    #[serde(
        rename = "deadline",
        skip_serializing_if = "Option::is_none",
        serialize_with = "duration::serialize"
    )]
    pub deadline_s: Option<u32>,
    /// What the whole task tree may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What it will do.
    #[serde(rename = "allow")]
    pub allowances: Vec<Allowance>,
}

/// Ceilings over a whole task tree. One that is not given is left to policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Budget {
    /// Rows read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Money spent, in cents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_cents: Option<u64>,
    /// Operations forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Child tasks of one task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<u64>,
    /// Levels of child tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u64>,
}

impl Intent {
    /// The intent that `json` writes.
    pub fn from_json(json: &[u8]) -> Result<Self, IntentError> {
        let whole = Place::default();
        if json.len() > INTENT_BYTES_MAX {
            return Err(whole.error(format!("the intent is longer than {INTENT_BYTES_MAX} bytes")));
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let value = tree::read(&mut reader).and_then(|value| reader.end().map(|()| value));
        Self::read(&value.map_err(|error| whole.error(format!("not JSON: {error}")))?)
    }

    /// Whether it is within all bounds.
    pub fn validate(&self) -> Result<(), IntentError> {
        let place = Place::default().key("allow");
        if self.allowances.len() > ALLOWANCES_MAX {
            return Err(place.error(format!(
                "more than {ALLOWANCES_MAX} allowances; use patterns, or open several tasks"
            )));
        }
        self.allowances
            .iter()
            .enumerate()
            .try_for_each(|(i, allowance)| allowance.validate_at(&place.index(i)))
    }

    fn read(value: &Value) -> Result<Self, IntentError> {
        let place = Place::default();
        let fields = Fields::of(value, &place, &KEYS)?;
        let intent = Self {
            purpose: fields.required("purpose", |v, p| reader::parsed(v, p, str::parse))?,
            deadline_s: fields
                .optional("deadline", |v, p| reader::parsed(v, p, duration::parse))?,
            budget: fields.optional("budget", Budget::read)?,
            allowances: fields.required("allow", |v, p| reader::list(v, p, Allowance::read))?,
        };
        intent.validate()?;
        Ok(intent)
    }
}

impl Budget {
    fn read(value: &Value, place: &Place) -> Result<Self, IntentError> {
        let fields = Fields::of(value, place, &BUDGET_KEYS)?;
        let ceiling = |name: &str| fields.optional(name, reader::count);
        Ok(Self {
            rows: ceiling("rows")?,
            spend_cents: ceiling("spend_cents")?,
            calls: ceiling("calls")?,
            fan_out: ceiling("fan_out")?,
            depth: ceiling("depth")?,
        })
    }
}

impl<'de> Deserialize<'de> for Intent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&tree::read(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&tree::read(deserializer)?, &Place::default()).map_err(D::Error::custom)
    }
}
