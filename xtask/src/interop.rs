//! Held against other implementations: each area brings its peers and counts what agrees.

mod cases;
mod identity;
mod mcp;

use crate::area::Area;

/// Every area that can be held against others.
pub(crate) const AREAS: &[Area] =
    &[Area { name: "identity", run: identity::run }, Area { name: "mcp", run: mcp::run }];
