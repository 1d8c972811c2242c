//! Text that others chose, and times, made fit to be looked at.

use carnet_core::Timestamp;

/// How many spaces in a row are shown as spaces. More could push text off a screen.
const SPACES_MAX: usize = 16;

/// `text` in one line: what hides, reorders or breaks text is written out. A backslash of the text
/// itself is doubled, so that nothing can pretend to be written out.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut spaces = 0;
    for c in text.chars() {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        match c {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if spaces > SPACES_MAX || is_hidden(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// JSON text with everything that hides written out. What JSON itself escapes stays as it is: a
/// backslash of the text is already doubled there.
pub(crate) fn escaped_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) && c != '\n' {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a reader cannot see `c`, or it changes how others are seen.
pub(crate) fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // Blank letters, marks without a picture and selectors, which count as printable elsewhere.
    let blank = matches!(
        u32::from(c),
        0x034F | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x2800 | 0x3164
            | 0xFE00..=0xFE0F | 0xFFA0 | 0xE0000..=0xE0FFF
    );
    // Behind a letter, only what is not printable is escaped: a combining mark stands on it.
    let mut behind = String::from("a");
    behind.push(c);
    blank || behind.escape_debug().nth(1) != Some(c)
}

/// A time as people read it: UTC, to the second.
pub(crate) fn time(at: Timestamp) -> String {
    let whole = at.us().div_euclid(1_000_000).saturating_mul(1_000_000);
    utc(whole).map_or_else(|| beyond(at), |at| at.to_string())
}

/// A time to the microsecond, where a difference matters.
pub(crate) fn time_us(at: Timestamp) -> String {
    utc(at.us()).map_or_else(|| beyond(at), |at| format!("{at:.6}"))
}

fn utc(us: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(us).ok()
}

/// A time no calendar has.
fn beyond(at: Timestamp) -> String {
    format!("{} µs since 1970", at.us())
}

/// How many seconds, as people say it.
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        s if s < 0 => "over".to_owned(),
        s if s < 120 => format!("{s}s"),
        s if s < 7_200 => format!("{}m", s / 60),
        s if s < 172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// Now, by the wall clock of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_us(jiff::Timestamp::now().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_reorders_is_written_out() {
        for hidden in [
            '\u{0}',
            '\u{7}',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e000}',
            '\u{e0041}',
            '\u{e0101}',
        ] {
            let shown = escaped(&format!("a{hidden}b"));
            assert!(!shown.contains(hidden), "{hidden:?}");
            assert!(shown.starts_with('a') && shown.ends_with('b'), "{shown}");
            assert!(!escaped_json(&format!("\"{hidden}\"")).contains(hidden), "{hidden:?}");
        }
    }

    #[test]
    fn text_of_any_language_stays_readable() {
        for text in ["Refund O-1042, please.", "Größe", "返金", "धन वापसी", "возврат", "e\u{301}"]
        {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn a_text_cannot_pretend_to_be_escaped() {
        assert_eq!(escaped("\\u{202e}"), "\\\\u{202e}");
        assert_eq!(escaped("\u{202e}"), "\\u{202e}");
        assert_eq!(escaped("a\nb\\n"), "a\\nb\\\\n");
    }

    #[test]
    fn text_cannot_be_pushed_off_the_screen() {
        let shown = escaped(&format!("ok{}and more", " ".repeat(40)));
        assert!(!shown.contains(&" ".repeat(17)), "{shown}");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(Timestamp::from_us(1_700_000_000_123_456)), "2023-11-14T22:13:20Z");
        assert_eq!(
            time_us(Timestamp::from_us(1_700_000_000_123_456)),
            "2023-11-14T22:13:20.123456Z"
        );
        assert_eq!((span(90), span(3_600), span(-1)), ("90s".into(), "60m".into(), "over".into()));
    }
}
