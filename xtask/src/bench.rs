//! Measured, on the machine at hand: figures to compare with figures of the same machine only.

mod mcp;
mod policy;

use crate::area::Area;

/// Every area that can be measured.
pub(crate) const AREAS: &[Area] =
    &[Area { name: "policy", run: policy::run }, Area { name: "mcp", run: mcp::run }];
