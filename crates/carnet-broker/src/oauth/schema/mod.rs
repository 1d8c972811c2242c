//! The JSON schemas of our authorization details (RFC 9396), for who wants to check before asking. A
//! test holds them to the readers.

use axum::extract::Path as UrlPath;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::oauth::exchange::details::DELEGATION_TYPE;
use crate::oauth::metadata::cached;
use crate::work::DETAILS_TYPE;

/// Where they are served.
pub(crate) const PLACE: &str = "/oauth/schemas";
/// Each type with its schema.
pub(crate) const TYPES: [(&str, &str); 2] = [
    (DETAILS_TYPE, include_str!("carnet_task.json")),
    (DELEGATION_TYPE, include_str!("carnet_delegation.json")),
];

/// The schema of one type.
pub(crate) async fn schema(UrlPath(file): UrlPath<String>) -> Response {
    let name = file.strip_suffix(".json");
    match TYPES.into_iter().find(|(known, _)| Some(*known) == name) {
        Some((_, schema)) => cached(schema.to_owned(), "application/schema+json"),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
