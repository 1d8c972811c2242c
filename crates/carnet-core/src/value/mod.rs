//! Canonical values: what a binding compares, so that no two spellings of one thing differ and no
//! two things share a spelling.
//!
//! A value that programs are known to read differently is refused rather than guessed at: it has no
//! canonical form, and a value without one never matches.

mod canonical;
mod character;
mod email;
mod file_path;
mod host;
mod number;
mod web_url;

pub use canonical::{ValueError, ValueType};
pub use email::{Email, EmailDomain};
pub use file_path::FilePath;
pub use number::Number;
pub use web_url::WebUrl;

pub(crate) use canonical::{Canonical, canonical, text_of};
pub(crate) use character::{first_hidden, nfc};
pub(crate) use host::canonical_host;
pub(crate) use number::INTEGER_MAX;
