//! Lists, cut down to what a task may use. What is kept is kept byte for byte.

use bytes::Bytes;
use serde_json::Value;

use super::json::JsonError;
use super::message::{Outcome, Response};
use super::revision::Revision;
use super::splice::{self, elements, members, replaced};

/// The most items of one page.
const ITEMS_MAX: usize = 10_000;
const PRIVATE: &[u8] = b"\"private\"";

/// What a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// Tools, by `name`.
    Tools,
    /// Resources, by `uri`.
    Resources,
    /// Resource templates, by `uriTemplate`.
    Templates,
    /// Prompts, by `name`.
    Prompts,
}

impl ListKind {
    /// The member of the result that holds the items.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    /// The member of an item that identifies it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }
}

/// One item, as the filter sees it.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// What identifies it.
    pub key: &'a str,
    /// All of it: what its pin is made from.
    pub definition: &'a Value,
}

/// A list after filtering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered {
    /// The whole message.
    pub bytes: Bytes,
    /// How many items are left.
    pub kept: usize,
    /// How many are not.
    pub removed: usize,
}

/// Why a list is not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The result is not a list of this kind.
    #[error("the server's result has no list `{0}`")]
    NotList(&'static str),
    /// Too many items.
    #[error("the server's list has more than {ITEMS_MAX} items on one page")]
    TooMany,
    /// It asks for input, which a list may not.
    #[error("the server's list is not a complete result")]
    Incomplete,
    /// The bytes are not what they were when they were read.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// The answer to a list request with only the items that `keep` keeps.
///
/// An item that cannot be identified is not kept. Members of the result that are not understood,
/// the page cursor among them, stay; a list made for one task says that it is private. An error is
/// passed as it is.
pub fn filter(
    response: &Response,
    kind: ListKind,
    revision: Revision,
    mut keep: impl FnMut(&Item<'_>) -> bool,
) -> Result<Filtered, ListError> {
    let Outcome::Result(result) = &response.outcome else {
        return Ok(Filtered { bytes: response.bytes().clone(), kept: 0, removed: 0 });
    };
    if result.get("resultType").is_some_and(|kind| kind.as_str() != Some("complete")) {
        return Err(ListError::Incomplete);
    }
    let Some(Value::Array(items)) = result.get(kind.member()) else {
        return Err(ListError::NotList(kind.member()));
    };
    if items.len() > ITEMS_MAX {
        return Err(ListError::TooMany);
    }
    let kept: Vec<bool> = items
        .iter()
        .map(|definition| {
            let key = definition.get(kind.key()).and_then(Value::as_str);
            key.is_some_and(|key| keep(&Item { key, definition }))
        })
        .collect();
    let bytes = cut(response.bytes(), kind, revision, &kept)?;
    let count = kept.iter().filter(|kept| **kept).count();
    Ok(Filtered { bytes, kept: count, removed: kept.len().saturating_sub(count) })
}

fn cut(
    bytes: &Bytes,
    kind: ListKind,
    revision: Revision,
    kept: &[bool],
) -> Result<Bytes, ListError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() })?;
    let lost = || ListError::NotList(kind.member());
    let result = members(text)?.raw("result").ok_or_else(lost)?.get();
    let inner = members(result)?;
    let mut edits = Vec::new();
    match inner.raw("cacheScope") {
        Some(scope) => {
            let range = splice::range(text, scope.get()).ok_or_else(lost)?;
            edits.push((range, PRIVATE.to_vec()));
        }
        None if revision.scopes_caches() => {
            let start = splice::range(text, result).ok_or_else(lost)?.start.saturating_add(1);
            edits.push((start..start, [b"\"cacheScope\":", PRIVATE, b","].concat()));
        }
        None => {}
    }
    if kept.iter().any(|kept| !kept) {
        let list = inner.raw(kind.member()).ok_or_else(lost)?.get();
        let items = elements(list)?;
        let left = items.iter().zip(kept).filter(|(_, kept)| **kept);
        let left: Vec<&str> = left.map(|(item, _)| item.get()).collect();
        let range = splice::range(text, list).ok_or_else(lost)?;
        edits.push((range, format!("[{}]", left.join(",")).into_bytes()));
    }
    edits.sort_by_key(|(range, _)| range.start);
    replaced(text, &edits).ok_or_else(lost)
}
