//! Durations as people write them: `90s`, `30m`, `2h`, `1d`.

use serde::Serializer;

/// The longest duration an intent may name: 30 days.
pub(super) const DURATION_S_MAX: u32 = 30 * 24 * 3600;

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The seconds `text` writes.
pub(super) fn parse(text: &str) -> Result<u32, String> {
    let malformed =
        || "write a whole number and one unit, such as `90s`, `30m`, `2h` or `1d`".to_owned();
    let unit = UNITS.into_iter().find_map(|(unit, s)| Some((text.strip_suffix(unit)?, s)));
    let (digits, unit_s) = unit.ok_or_else(malformed)?;
    let is_plain = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_plain {
        return Err(malformed());
    }
    let count: u32 = digits.parse().map_err(|_| malformed())?;
    match count.checked_mul(unit_s) {
        Some(0) => Err("is no time at all; write at least `1s`".to_owned()),
        Some(s) if s <= DURATION_S_MAX => Ok(s),
        _ => Err("is longer than 30 days; write at most `30d`".to_owned()),
    }
}

/// `seconds` in the largest unit that divides them.
fn written(seconds: u32) -> String {
    let unit = UNITS.into_iter().find(|(_, s)| seconds.is_multiple_of(*s) && seconds > 0);
    let (unit, unit_s) = unit.unwrap_or(('s', 1));
    format!("{}{unit}", seconds / unit_s)
}

/// For fields that are written as text and kept in seconds.
pub(super) fn serialize<S: Serializer>(
    seconds: &Option<u32>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match seconds {
        Some(seconds) => serializer.serialize_str(&written(*seconds)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_one_number_and_one_unit() {
        for (text, s) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(parse(text), Ok(s));
            assert_eq!(written(s), text);
        }
        for text in
            ["", "s", "30", "1.5h", "-1s", "+1s", "1h30m", "1 h", "1w", "0s", "31d", "9999999999s"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
