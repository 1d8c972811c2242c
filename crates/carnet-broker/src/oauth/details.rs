//! The authorization details of a request (RFC 9396): exactly one object of our one type, nothing
//! in it unknown.

use carnet_core::{Path, TaskId};
use serde::Deserialize;
use serde_json::Value;

use crate::oauth::refusal::{Kind, Refusal};

/// The longest text read.
const DETAILS_BYTES_MAX: usize = 4 * 1024;

/// What a `carnet_task` object says. A member twice, unknown or of another type is refused.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Details {
    #[serde(rename = "type")]
    _type: DetailsType,
    /// The task.
    pub(crate) task: TaskId,
    /// The path, which must be the resource's.
    #[serde(default)]
    pub(crate) path: Option<Path>,
    /// The resource once more, where it is said.
    #[serde(default)]
    pub(crate) locations: Option<Vec<String>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
enum DetailsType {
    #[serde(rename = "carnet_task")]
    CarnetTask,
}

impl Details {
    /// Reads the parameter `authorization_details`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > DETAILS_BYTES_MAX {
            return Err(refused());
        }
        let shapes: Vec<Value> = serde_json::from_str(text).map_err(|_| refused())?;
        if !shapes.iter().all(is_plain) {
            return Err(refused());
        }
        let details: Vec<Self> = serde_json::from_str(text).map_err(|_| refused())?;
        let mut details = details.into_iter();
        match (details.next(), details.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(refused()),
        }
    }
}

/// Whether `shape` is an object of texts and lists. The typed reader would also take an array for
/// the object, an object for a text and null for nothing.
fn is_plain(shape: &Value) -> bool {
    let is_plain = |value: &Value| value.is_string() || value.is_array();
    shape.as_object().is_some_and(|object| object.values().all(is_plain))
}

/// What any unusable details are answered with.
pub(crate) const fn refused() -> Refusal {
    Refusal::new(
        Kind::InvalidDetails,
        "details_malformed",
        "send an array of exactly one object of the type carnet_task with the member task, and path and locations, if at all, those of the resource",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_of_our_type_is_read() {
        let text = r#"[{"type":"carnet_task","task":"task_1","path":"read","locations":["x"]}]"#;
        let details = Details::parse(text).unwrap();
        assert_eq!(details.task.as_str(), "task_1");
        assert_eq!((details.path, details.locations), (Some(Path::Read), Some(vec!["x".into()])));
        assert!(Details::parse(r#"[{"task":"task_1","type":"carnet_task"}]"#).is_ok());
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("[{}]", " ".repeat(5000));
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "[null]",
            "[[]]",
            r#"{"type":"carnet_task","task":"task_1"}"#,
            r#"["carnet_task","task_1"]"#,
            r#"[["carnet_task","task_1",null,null]]"#,
            r#"[{"task":"task_1"}]"#,
            r#"[{"type":"carnet_task"}]"#,
            r#"[{"type":"payment","task":"task_1"}]"#,
            r#"[{"type":"carnet_task","task":"grant_1"}]"#,
            r#"[{"type":"carnet_task","task":1}]"#,
            r#"[{"type":"carnet_task","task":"task_1","path":"delete"}]"#,
            r#"[{"type":"carnet_task","task":"task_1","path":{"read":null}}]"#,
            r#"[{"type":"carnet_task","task":"task_1","path":null}]"#,
            r#"[{"type":{"carnet_task":null},"task":"task_1"}]"#,
            r#"[{"type":"carnet_task","task":"task_1","locations":"x"}]"#,
            r#"[{"type":"carnet_task","task":"task_1","actions":["all"]}]"#,
            r#"[{"type":"carnet_task","task":"task_1","task":"task_2"}]"#,
            r#"[{"type":"carnet_task","task":"task_1","\u0074ask":"task_2"}]"#,
            r#"[{"type":"carnet_task","task":"task_1"},{"type":"carnet_task","task":"task_1"}]"#,
            r#"[{"type":"carnet_task","task":"task_1"}] x"#,
            &long,
        ] {
            assert!(Details::parse(text).is_err(), "{text}");
        }
    }
}
