//! The fixtures as programs use them.

mod conformance;
mod forward;
mod load;
