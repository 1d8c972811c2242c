//! The pin of a definition: what a reviewer saw, as a digest.

use carnet_core::{Digest, DigestError};
use serde_json::Value;

/// The SHA-256 of the canonical form (RFC 8785) of the whole object a server lists: name, title,
/// descriptions, schemas with their defaults, annotations, icons, `_meta` and whatever else it
/// holds. Nothing is left out, so nothing can change unseen.
///
/// The order of members and the spacing do not matter to the pin, and do not matter to a reader.
/// Nor does a difference between numbers that are the same double: arguments are held to the
/// integers doubles can tell apart, so no such bound can be crossed.
pub fn pin(definition: &Value) -> Result<Digest, DigestError> {
    Digest::of_json(definition)
}
