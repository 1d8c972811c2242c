//! Spellings: none passes where the canonical value would not, none is refused where it would.

use proptest::prelude::*;
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use crate::{ArgumentKind, Binding};

fn binding(value: Value) -> Binding {
    serde_json::from_value(value).unwrap()
}

/// `text` with the letters that `flips` chooses in the other case.
fn recased(text: &str, flips: &[bool]) -> String {
    let flip = |(i, c): (usize, char)| {
        let is_flipped = flips.get(i % flips.len().max(1)).copied().unwrap_or_default();
        if !is_flipped {
            return c;
        }
        if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
    };
    text.chars().enumerate().map(flip).collect()
}

/// `path` with the unreserved characters that `picks` chooses percent-encoded, dots excepted.
fn encoded(path: &str, picks: &[bool]) -> String {
    let mut out = String::new();
    for (i, c) in path.chars().enumerate() {
        let is_picked = picks.get(i % picks.len().max(1)).copied().unwrap_or_default();
        if is_picked && c.is_ascii_alphanumeric() {
            out.push_str(&format!("%{:02x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn flips() -> impl Strategy<Value = Vec<bool>> {
    prop::collection::vec(any::<bool>(), 1..16)
}

proptest! {
    #[test]
    fn the_case_of_a_domain_makes_no_difference_and_its_letters_do(
        local in "[a-zA-Z0-9]{1,8}", domain in "[a-z]{1,6}\\.(com|net)",
        other in "[a-z]{1,6}\\.(com|net)", flips in flips()
    ) {
        let address = json!(format!("{local}@{domain}"));
        let spelled = json!(format!("{local}@{}", recased(&domain, &flips)));
        let foreign = json!(format!("{local}@{}", recased(&other, &flips)));
        for rule in [
            binding(json!({ "email": { "domain": domain } })),
            binding(json!({ "email": { "address": address } })),
            binding(json!({ "equals": address })),
        ] {
            let kind = Some(ArgumentKind::Email);
            prop_assert!(rule.check(&spelled, kind).is_ok());
            prop_assert_eq!(rule.check(&foreign, kind).is_ok(), domain == other);
        }
    }

    #[test]
    fn the_case_of_a_local_part_makes_a_difference(
        local in "[a-zA-Z]{1,8}", flips in flips()
    ) {
        let rule = binding(json!({ "email": { "address": format!("{local}@example.com") } }));
        let other = recased(&local, &flips);
        let found = rule.check(&json!(format!("{other}@example.com")), None);
        prop_assert_eq!(found.is_ok(), other == local);
    }

    #[test]
    fn every_spelling_of_a_url_is_the_url(
        segments in prop::collection::vec("[a-z0-9~_-]{1,5}", 1..4), flips in flips(),
        picks in flips(), port in any::<bool>(), dot in any::<bool>(), detour in any::<bool>()
    ) {
        let path = format!("/{}", segments.join("/"));
        let host = recased("api.example.com", &flips);
        let detour = if detour { "/x/./.." } else { "" };
        let spelled = format!(
            "{}://{host}{}{}{detour}{}",
            recased("https", &flips),
            if dot { "." } else { "" },
            if port { ":443" } else { "" },
            encoded(&path, &picks),
        );
        let rule = |path_under: &str| binding(json!({ "url": {
            "scheme": "https", "host": "api.example.com", "path_under": path_under
        } }));
        let value = json!(spelled);
        let equals = binding(json!({ "equals": format!("https://api.example.com{path}") }));
        prop_assert!(equals.check(&value, Some(ArgumentKind::Url)).is_ok(), "{}", spelled);
        prop_assert!(rule(&path).check(&value, None).is_ok(), "{}", spelled);
        prop_assert!(rule("/").check(&value, None).is_ok());
        for other in [format!("{path}x"), format!("{path}/x")] {
            prop_assert!(rule(&other).check(&value, None).is_err());
        }
    }

    #[test]
    fn a_url_is_under_a_path_only_if_its_decoded_components_are(
        tail in "(/|a|b|\\.|%2e|%2E|%2f|%5c|;|%61|%00|%25){0,8}"
    ) {
        let rule = binding(json!({ "url": {
            "scheme": "https", "host": "h.example", "path_under": "/a/b"
        } }));
        let text = format!("https://h.example/a/b{tail}");
        if rule.check(&json!(text), None).is_ok() {
            // A reader that decodes first and resolves afterwards, with slashes merged and path
            // parameters dropped, must stay under it too.
            let mut decoded = tail.clone();
            for (code, c) in [("%25", "%"), ("%2e", "."), ("%2E", "."), ("%2f", "/"), ("%5c", "/"), ("%61", "a")] {
                decoded = decoded.replace(code, c);
            }
            let mut depth = vec![];
            let whole = format!("a/b{decoded}");
            for component in whole.split('/') {
                match component.split(';').next().unwrap() {
                    "" | "." => {}
                    ".." => { depth.pop(); }
                    name => depth.push(name.to_owned()),
                }
            }
            prop_assert!(depth.starts_with(&["a".to_owned(), "b".to_owned()]), "{} {:?}", text, depth);
        }
    }

    #[test]
    fn a_file_path_is_under_a_directory_only_if_it_resolves_there(
        tail in "(/|a|b|\\.|%2e|%2f){0,8}"
    ) {
        let rule = binding(json!({ "file_under": "/a/b" }));
        let text = format!("/a/b{tail}");
        if rule.check(&json!(text), None).is_ok() {
            let mut resolved = vec![];
            for component in text.replace("%2e", ".").replace("%2f", "/").split('/') {
                match component {
                    "" | "." => {}
                    ".." => { resolved.pop(); }
                    name => resolved.push(name.to_owned()),
                }
            }
            prop_assert!(resolved.starts_with(&["a".to_owned(), "b".to_owned()]), "{}", text);
        }
    }

    #[test]
    fn a_number_is_its_value_however_it_is_written(n in -100_000_i64..100_000, other in -100_000_i64..100_000) {
        let rule = binding(json!({ "equals": n }));
        for form in [format!("{other}"), format!("{other}.0"), format!("{other}e0"), format!("{other}0e-1")] {
            let value: Value = serde_json::from_str(&form).unwrap();
            prop_assert_eq!(rule.check(&value, None).is_ok(), n == other);
            let same: Value = serde_json::from_str(&form.replace(&other.to_string(), &n.to_string())).unwrap();
            prop_assert!(rule.check(&same, Some(ArgumentKind::Number)).is_ok());
        }
    }

    #[test]
    fn text_is_itself_in_every_unicode_form(text in "\\PC{0,12}", other in "\\PC{0,12}") {
        let rule = binding(json!({ "equals": text }));
        for form in [text.nfc().collect::<String>(), text.nfd().collect()] {
            prop_assert!(rule.check(&json!(form), None).is_ok());
        }
        let is_same = text.nfc().eq(other.nfc());
        prop_assert_eq!(rule.check(&json!(other), None).is_ok(), is_same);
    }

    #[test]
    fn no_text_makes_the_readers_fail(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        crate::fuzz_intent(text.as_bytes());
        crate::fuzz_intent(&bytes);
    }

    #[test]
    fn what_looks_like_a_url_or_an_address_has_one_stable_form(
        text in "(https?|ws)://[a-zA-Z0-9.:@%\\[\\]\u{e9}-]{1,12}[/a-z.%0-9A-F;?#\u{e9}]{0,12}",
        address in "[a-z.+\u{e9}\u{301}]{1,6}@[a-zA-Z.\u{fc}\u{308}-]{1,10}",
        path in "/[a-z./%0-9\u{e9}]{0,12}",
    ) {
        for text in [text, address, path] {
            crate::fuzz_intent(text.as_bytes());
        }
    }
}
