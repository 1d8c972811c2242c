//! Conformance cases, the documentation and the bounds, over the public interface.

mod bounds;
mod conformance;
mod guide;
