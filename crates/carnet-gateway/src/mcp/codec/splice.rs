//! Cutting a piece out of a JSON text so that every other byte stays as it was.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::JsonError;

/// One member of an object, with its value as it is written.
pub(super) struct Member<'a> {
    /// The name, unescaped.
    pub(super) name: Cow<'a, str>,
    /// The value's own bytes.
    pub(super) raw: &'a RawValue,
}

/// The members of an object in the order they are written.
pub(super) struct Members<'a>(pub(super) Vec<Member<'a>>);

impl<'a> Members<'a> {
    /// The value of the member named `name`, as it is written.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|member| member.name == name).map(|member| member.raw)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<Member<'de>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = access.next_key::<String>()? {
                    let raw = access.next_value::<&'de RawValue>()?;
                    members.push(Member { name: Cow::Owned(name), raw });
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Members)
    }
}

/// The members of the object that `text` is.
pub(super) fn members(text: &str) -> Result<Members<'_>, JsonError> {
    serde_json::from_str(text).map_err(|error| syntax(&error))
}

/// The elements of the array that `text` is, as they are written.
pub(super) fn elements(text: &str) -> Result<Vec<&RawValue>, JsonError> {
    serde_json::from_str(text).map_err(|error| syntax(&error))
}

fn syntax(error: &serde_json::Error) -> JsonError {
    JsonError::Syntax { line: error.line(), column: error.column() }
}

/// Where `part`, a slice of `whole`, lies in it.
pub(super) fn range(whole: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// `text` with each range replaced. The ranges are in order and do not overlap.
pub(super) fn replaced(text: &str, edits: &[(Range<usize>, Vec<u8>)]) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(text.len());
    let mut from = 0;
    for (range, with) in edits {
        out.put_slice(text.get(from..range.start)?.as_bytes());
        out.put_slice(with);
        from = range.end;
    }
    out.put_slice(text.get(from..)?.as_bytes());
    Some(out.freeze())
}

/// `bytes`, an object, without the members `names` of its member `of`; all else as it was.
pub(super) fn without_members(bytes: &Bytes, of: &str, names: &[&str]) -> Result<Bytes, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() })?;
    let Some(object) = members(text)?.raw(of) else {
        return Ok(bytes.clone());
    };
    let inner = members(object.get())?;
    let edits = removals(text, object.get(), &inner, names).ok_or(UNPLACED)?;
    if edits.is_empty() {
        return Ok(bytes.clone());
    }
    replaced(text, &edits).ok_or(UNPLACED)
}

/// A part that is not where it was read from: it cannot be, and if it were, nothing is sent.
const UNPLACED: JsonError = JsonError::Syntax { line: 0, column: 0 };

/// A member goes from the end of what precedes it to its own end; the first also takes the comma
/// that follows it, so that what is left is an object again.
fn removals(
    text: &str,
    object: &str,
    inner: &Members<'_>,
    names: &[&str],
) -> Option<Vec<(Range<usize>, Vec<u8>)>> {
    let whole = range(text, object)?;
    let mut edits: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    let mut kept_before = false;
    let mut end_before = whole.start.checked_add(1)?;
    for member in &inner.0 {
        let end = range(text, member.raw.get())?.end;
        let removed = names.contains(&member.name.as_ref());
        if removed {
            push_removal(&mut edits, end_before..end);
        } else if !kept_before && !edits.is_empty() {
            // Everything before was removed: this member's leading comma goes too.
            let comma = text.get(end_before..end)?.find(',')?;
            push_removal(&mut edits, end_before..end_before.checked_add(comma)?.checked_add(1)?);
        }
        kept_before |= !removed;
        end_before = end;
    }
    Some(edits)
}

fn push_removal(edits: &mut Vec<(Range<usize>, Vec<u8>)>, range: Range<usize>) {
    match edits.last_mut() {
        Some((last, _)) if last.end == range.start => last.end = range.end,
        _ => edits.push((range, Vec::new())),
    }
}
