//! The entry point of the fuzzer.

use super::file::Intent;
use super::pattern::ActionPattern;
use super::regular::RegularExpression;
use crate::ArgumentKind;
use crate::value::{Email, FilePath, WebUrl, canonical};

const KINDS: [ArgumentKind; 7] = [
    ArgumentKind::Text,
    ArgumentKind::Number,
    ArgumentKind::Email,
    ArgumentKind::Url,
    ArgumentKind::FilePath,
    ArgumentKind::Sql,
    ArgumentKind::Code,
];

/// Reads `data` as an intent, and as text as every kind of value, and asserts that what was read
/// has one stable form. Only for fuzzers and tests: a broken invariant panics.
#[doc(hidden)]
pub fn fuzz_intent(data: &[u8]) {
    if let Ok(intent) = Intent::from_json(data) {
        let written = serde_json::to_vec(&intent).unwrap_or_default();
        assert_eq!(Intent::from_json(&written).ok().as_ref(), Some(&intent), "INV-intent-stable");
        let bindings = intent.allowances.iter().flat_map(|allowance| allowance.where_.values());
        for binding in bindings {
            check_every_kind(|kind| {
                let _ = binding.check(&serde_json::Value::Null, kind);
                let _ = binding.check(&String::from_utf8_lossy(data).into(), kind);
            });
        }
    }
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) {
        check_every_kind(|kind| {
            let _ = canonical(&value, kind);
        });
    }
    if let Ok(text) = std::str::from_utf8(data) {
        check_text(text);
    }
}

fn check_every_kind(check: impl Fn(Option<ArgumentKind>)) {
    std::iter::once(None).chain(KINDS.map(Some)).for_each(check);
}

/// The canonical form of a canonical form is itself.
fn check_text(text: &str) {
    if let Ok(form) = Email::parse(text).map(|email| email.to_string()) {
        let again = Email::parse(&form).map(|email| email.to_string());
        assert_eq!(again.as_ref(), Ok(&form), "INV-email-stable");
    }
    if let Ok(form) = WebUrl::parse(text).map(|url| url.to_string()) {
        let again = WebUrl::parse(&form).map(|url| url.to_string());
        assert_eq!(again.as_ref(), Ok(&form), "INV-url-stable");
    }
    if let Ok(form) = FilePath::parse(text).map(|path| path.to_string()) {
        let again = FilePath::parse(&form).map(|path| path.to_string());
        assert_eq!(again.as_ref(), Ok(&form), "INV-file-path-stable");
    }
    let _ = text.parse::<ActionPattern>();
    let _ = RegularExpression::new(text).map(|expression| expression.matches(text));
}
