//! The obligations a permit may carry, and how several become one.

use std::collections::{BTreeMap, BTreeSet};

use carnet_core::Obligation;

/// The longest list in one obligation.
const ITEMS_MAX: usize = 64;
/// The longest item of a list.
const ITEM_BYTES_MAX: usize = 128;

/// The kinds a policy may name. A gateway that cannot do one denies.
pub(crate) const KINDS: [&str; 3] = [RESULT_BYTES_MAX, REDACT, NOTIFY];

/// The largest result that is released, in bytes.
const RESULT_BYTES_MAX: &str = "result_bytes_max";
/// Names of JSON members whose values are blanked in the result.
const REDACT: &str = "redact";
/// People and teams that are told: `user:NAME`, `team:NAME`.
const NOTIFY: &str = "notify";

/// Reads `kind=value;kind=value`. The message of an error completes "`@obligation` …".
pub(crate) fn parse_obligations(text: &str) -> Result<Vec<Obligation>, String> {
    let mut found = BTreeMap::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (kind, value) = part
            .split_once('=')
            .map(|(kind, value)| (kind.trim(), value.trim()))
            .ok_or_else(|| format!("has `{part}`, which is not `kind=value`"))?;
        let value = canonical(kind, value)?;
        if found.insert(kind.to_owned(), value).is_some() {
            return Err(format!("names `{kind}` twice"));
        }
    }
    if found.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(found.into_iter().map(|(kind, value)| Obligation { kind, value }).collect())
}

fn canonical(kind: &str, value: &str) -> Result<String, String> {
    match kind {
        RESULT_BYTES_MAX => match value.parse::<u64>() {
            Ok(bytes) if bytes > 0 && value.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(bytes.to_string())
            }
            _ => Err(format!("has `{RESULT_BYTES_MAX}={value}`: write a whole number above 0")),
        },
        REDACT => list(kind, value, |item| {
            item.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        }),
        NOTIFY => list(kind, value, |item| {
            item.strip_prefix("user:").or(item.strip_prefix("team:")).is_some_and(is_party_name)
        }),
        _ => Err(format!("has the unknown kind `{kind}`")),
    }
}

/// Whether `text` can name a person or a team.
pub(crate) fn is_party_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn list(kind: &str, value: &str, is_item: fn(&str) -> bool) -> Result<String, String> {
    let items: BTreeSet<&str> = value.split(',').map(str::trim).collect();
    if let Some(bad) =
        items.iter().find(|i| i.is_empty() || i.len() > ITEM_BYTES_MAX || !is_item(i))
    {
        return Err(format!("has `{bad}` in `{kind}`, which is not one"));
    }
    if items.len() > ITEMS_MAX {
        return Err(format!("has more than {ITEMS_MAX} items in `{kind}`"));
    }
    Ok(items.into_iter().collect::<Vec<_>>().join(","))
}

/// All obligations together, merged to the stricter: the smallest number, the union of lists.
pub(crate) fn merge_obligations<'a>(
    all: impl IntoIterator<Item = &'a Obligation>,
) -> Vec<Obligation> {
    let mut merged: BTreeMap<&str, String> = BTreeMap::new();
    for obligation in all {
        let kind = obligation.kind.as_str();
        let value = match merged.get(kind) {
            None => obligation.value.clone(),
            Some(other) if kind == RESULT_BYTES_MAX => smaller(other, &obligation.value),
            Some(other) => union(other, &obligation.value),
        };
        merged.insert(kind, value);
    }
    merged.into_iter().map(|(kind, value)| Obligation { kind: kind.to_owned(), value }).collect()
}

/// The smaller of two canonical numbers.
fn smaller(one: &str, two: &str) -> String {
    // Without leading zeros the shorter numeral is the smaller number.
    let order = one.len().cmp(&two.len()).then(one.cmp(two));
    if order.is_le() { one.to_owned() } else { two.to_owned() }
}

fn union(one: &str, two: &str) -> String {
    let items: BTreeSet<&str> = one.split(',').chain(two.split(',')).collect();
    items.into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Obligation> {
        parse_obligations(text).unwrap()
    }

    #[test]
    fn obligations_are_read_into_one_form() {
        let read = of(" redact = phone, email,phone ; result_bytes_max=0090;");
        let text: Vec<_> = read.iter().map(|o| format!("{}={}", o.kind, o.value)).collect();
        assert_eq!(text, ["redact=email,phone", "result_bytes_max=90"]);
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        for text in [
            "",
            ";",
            "redact",
            "redact=",
            "redact=a,,b",
            "redact=a b",
            "result_bytes_max=0",
            "result_bytes_max=-1",
            "result_bytes_max=+1",
            "result_bytes_max=1e3",
            "notify=ana",
            "notify=user:",
            "mask=email",
            "redact=a;redact=b",
        ] {
            assert!(parse_obligations(text).is_err(), "{text}");
        }
    }

    #[test]
    fn merging_takes_the_smaller_number_and_the_union_of_lists() {
        let all = [
            of("result_bytes_max=1000;redact=b"),
            of("result_bytes_max=90;redact=a;notify=user:ana"),
        ];
        let merged = merge_obligations(all.iter().flatten());
        let text: Vec<_> = merged.iter().map(|o| format!("{}={}", o.kind, o.value)).collect();
        assert_eq!(text, ["notify=user:ana", "redact=a,b", "result_bytes_max=90"]);
    }

    proptest::proptest! {
        #[test]
        fn the_order_of_merging_does_not_matter(mut numbers in proptest::collection::vec(1_u64.., 1..6)) {
            let all: Vec<_> = numbers.iter().flat_map(|n| of(&format!("result_bytes_max={n};redact=m{n}"))).collect();
            let merged = merge_obligations(&all);
            proptest::prop_assert_eq!(&merged, &merge_obligations(all.iter().rev()));
            numbers.sort_unstable();
            proptest::prop_assert_eq!(&merged[1].value, &numbers[0].to_string());
        }
    }
}
