//! Cedar behind the policy seam of Carnet: a policy *set* is read as bytes ([`PolicySource`]),
//! checked against the vocabulary ([`SCHEMA`]) and compiled once ([`CedarPolicy::load`]); after
//! that, judging a [`carnet_core::Document`] is a pure function.
//!
//! Words. A set has three *tiers*, each its own folder: `permit/` (what may ever be), `forbid/`
//! (never) and `ask/` (a forbid here means: people must approve). A *scope key* is the one entity
//! a policy is filed under, so that a request meets only the policies that could match it. A policy
//! *determines* a verdict when the verdict rests on it.
//!
//! Two properties of Cedar are fenced in here. Cedar skips a policy that fails, forbids included:
//! here a forbid or an ask that fails is a deny. And the action groups live in the entity store, not
//! in the request: here every request is built with them, and tests hold it to the schema.
//!
//! What this crate does *not* do: decide coverage, budgets or liveness (the core does), carry out
//! obligations (gateways do), find out who may approve (the broker does) or activate a set.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

mod annotation;
mod argument;
mod cedar;
mod diagnosis;
mod explanation;
mod fact;
mod instant;
mod load;
mod load_error;
mod obligation;
mod question;
mod rule;
#[cfg(test)]
mod sample;
mod scan;
mod scope;
mod source;
mod starter;
mod suggestion;
mod summary;
mod terms;
mod vocabulary;

pub use cedar::CedarPolicy;
pub use explanation::{ExplainedPolicy, Explanation, NearMiss};
pub use load_error::{LoadError, LoadErrors};
pub use rule::Tier;
pub use source::{PolicySource, SourceError};
pub use starter::starter;
pub use summary::{Summary, TierCounts, UnscopedPolicy};
pub use vocabulary::{SCHEMA, VOCABULARY_VERSION, WORDS, Word};
