//! Whether an allowance covers an operation, and why not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::allowance::{Allowance, Other};
use super::binding::{Binding, check_ceiling, number};
use super::mismatch::BindingMismatch;
use super::reader::shown;
use crate::value::Number;
use crate::{ArgumentKind, Operation, Path};

/// The argument kinds a reviewer gave an operation.
type Kinds = BTreeMap<String, ArgumentKind>;

/// Why an allowance does not cover an operation. Names arguments, never carries their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncovered {
    /// It speaks of other actions.
    #[error("the allowance is for other actions")]
    Pattern,
    /// It is for another path.
    #[error("the allowance is for the {0} path")]
    Path(Path),
    /// It may be handed on but not used.
    #[error("the allowance may only be delegated, not used")]
    DelegateOnly,
    /// An argument does not match its binding.
    #[error("argument `{name}` {mismatch}")]
    Argument {
        /// Its name.
        name: String,
        /// Why.
        mismatch: BindingMismatch,
    },
    /// An argument that has a binding or a total is not in the call.
    #[error("argument `{name}` is bound but missing from the call")]
    Missing {
        /// Its name.
        name: String,
    },
    /// An argument that no binding names, where the allowance denies those.
    #[error("argument `{name}` is named by no binding; bind it, or say `other = \"any\"`")]
    Unnamed {
        /// Its name.
        name: String,
    },
    /// An argument that is summed is no amount within the ceiling.
    #[error("argument `{name}` {mismatch}, and the allowance sums it")]
    Total {
        /// Its name.
        name: String,
        /// Why.
        mismatch: BindingMismatch,
    },
}

impl Allowance {
    /// Whether this covers `operation`, whose arguments a reviewer gave `kinds`. Answers what to add
    /// to each total; whether uses and totals have room is the grant's to know.
    pub fn covers(
        &self,
        operation: &Operation,
        kinds: &BTreeMap<String, ArgumentKind>,
    ) -> Result<BTreeMap<String, i64>, Uncovered> {
        self.check_address(operation)?;
        if self.delegate_only {
            return Err(Uncovered::DelegateOnly);
        }
        self.admits(operation, kinds)
    }

    /// Whether `operation` is within this, be it to use or only to hand on. Answers as
    /// [`Allowance::covers`] does.
    pub fn admits(
        &self,
        operation: &Operation,
        kinds: &BTreeMap<String, ArgumentKind>,
    ) -> Result<BTreeMap<String, i64>, Uncovered> {
        self.check_address(operation)?;
        self.check_bound(operation, kinds)?;
        self.check_unnamed(operation)?;
        self.amounts(operation, kinds)
    }

    fn check_address(&self, operation: &Operation) -> Result<(), Uncovered> {
        let is_of_resource = self.action.resource() == operation.resource().as_str();
        if !is_of_resource || !self.action.matches(operation.action()) {
            return Err(Uncovered::Pattern);
        }
        if self.path != operation.path() {
            return Err(Uncovered::Path(self.path));
        }
        Ok(())
    }

    fn check_bound(&self, operation: &Operation, kinds: &Kinds) -> Result<(), Uncovered> {
        for (name, binding) in &self.where_ {
            let Some(value) = operation.arguments().value(name) else {
                return Err(Uncovered::Missing { name: shown(name) });
            };
            binding
                .check(value, kinds.get(name).copied())
                .map_err(|mismatch| Uncovered::Argument { name: shown(name), mismatch })?;
        }
        Ok(())
    }

    fn check_unnamed(&self, operation: &Operation) -> Result<(), Uncovered> {
        if self.other == Other::Any {
            return Ok(());
        }
        let is_named = |name: &str| self.where_.contains_key(name) || self.total.contains_key(name);
        match operation.arguments().iter().find(|(name, _)| !is_named(name)) {
            Some((name, _)) => Err(Uncovered::Unnamed { name: shown(name) }),
            None => Ok(()),
        }
    }

    fn amounts(
        &self,
        operation: &Operation,
        kinds: &Kinds,
    ) -> Result<BTreeMap<String, i64>, Uncovered> {
        let amount = |name: &String, ceiling: i64| {
            let Some(value) = operation.arguments().value(name) else {
                return Err(Uncovered::Missing { name: shown(name) });
            };
            whole_amount(value, kinds.get(name).copied(), ceiling)
                .map_err(|mismatch| Uncovered::Total { name: shown(name), mismatch })
        };
        self.total.iter().map(|(name, max)| Ok((name.clone(), amount(name, *max)?))).collect()
    }

    /// The allowance of exactly `operation`, once: what an approval adds. It covers nothing where an
    /// argument has no canonical form.
    pub fn exact(operation: &Operation) -> Self {
        let equals = |value: &serde_json::Value| Binding::Equals(value.clone());
        Self {
            where_: operation
                .arguments()
                .iter()
                .map(|(name, value)| (name.to_owned(), equals(value)))
                .collect(),
            other: Other::Deny,
            uses: Some(1),
            ..Self::new(operation.action().into(), operation.path())
        }
    }

    /// Whether uses of this are counted, so that each needs a reservation.
    pub fn is_counted(&self) -> bool {
        self.uses.is_some() || !self.total.is_empty()
    }
}

fn whole_amount(
    value: &serde_json::Value,
    kind: Option<ArgumentKind>,
    ceiling: i64,
) -> Result<i64, BindingMismatch> {
    let amount = number(value, kind)?;
    check_ceiling(amount, Number::of_integer(ceiling)?)?;
    amount.integer().ok_or(BindingMismatch::NotWhole)
}
