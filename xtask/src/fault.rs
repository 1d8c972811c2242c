//! Hurt on purpose: kill, partition, full disk; then looked at whether anything was permitted.

mod core;

use crate::area::Area;

/// Every area that can be hurt.
pub(crate) const AREAS: &[Area] = &[Area { name: "core", run: core::run }];
