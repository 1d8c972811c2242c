//! Intent: what a task declares it will do, and what a binding on an argument can say.
//!
//! An [`Intent`] is a list of [`Allowance`]s. [`Allowance::covers`] answers whether one covers an
//! [`Operation`](crate::Operation); bindings compare canonical values, never strings that merely
//! look alike.

mod allowance;
mod binding;
mod binding_file;
mod containment;
mod coverage;
mod duration;
mod file;
mod fuzz;
mod mismatch;
mod pattern;
mod purpose;
mod reader;
mod regular;
mod suggestion;
mod tree;
mod url_binding;

#[cfg(test)]
mod tests;

pub use allowance::{Allowance, Approve, Other};
pub use binding::{Binding, EmailBinding};
pub use containment::Wider;
pub use coverage::Uncovered;
pub use file::{Budget, Intent};
pub use fuzz::fuzz_intent;
pub use mismatch::{BindingError, BindingMismatch};
pub use pattern::{ActionPattern, ActionPatternError};
pub use purpose::{Purpose, PurposeError};
pub use reader::IntentError;
pub use regular::{RegularExpression, RegularExpressionError};
pub use url_binding::{UrlBinding, UrlBindingError};
