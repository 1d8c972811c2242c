//! Characters that make one text look like another.

use unicode_normalization::UnicodeNormalization;

use super::ValueError;

/// `text` in Unicode normalisation form C, without case folding.
pub(crate) fn nfc(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { text.nfc().collect() }
}

/// The first character of `text` that a reader cannot see or that reorders what is seen.
pub(crate) fn first_hidden(text: &str) -> Option<char> {
    text.chars().find(|c| is_hidden(*c))
}

/// Refuses hidden characters and white space.
pub(super) fn check_visible(text: &str) -> Result<(), ValueError> {
    if first_hidden(text).is_some() {
        return Err(ValueError::HiddenCharacter);
    }
    if text.contains(char::is_whitespace) {
        return Err(ValueError::WhiteSpace);
    }
    Ok(())
}

/// Refuses characters that compatibility normalisation replaces, such as a full-width `@`.
///
/// Some programs apply it and some do not, so a text with one names two different things.
pub(super) fn check_compatible(text: &str) -> Result<(), ValueError> {
    if text.is_ascii() || text.nfc().eq(text.nfkc()) {
        Ok(())
    } else {
        Err(ValueError::CompatibilityCharacter)
    }
}

/// Refuses `word`, which is in NFC, where it mixes alphabets whose letters look alike.
pub(super) fn check_one_alphabet(word: &str) -> Result<(), ValueError> {
    let mut seen: Option<Alphabet> = None;
    for alphabet in word.chars().filter_map(Alphabet::of) {
        match seen {
            Some(first) if first != alphabet => return Err(ValueError::MixedAlphabets),
            _ => seen = Some(alphabet),
        }
    }
    Ok(())
}

/// Alphabets with letters that look like those of another in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Cherokee,
    Coptic,
    Lisu,
}

impl Alphabet {
    fn of(c: char) -> Option<Self> {
        match u32::from(c) {
            0x41..=0x5A | 0x61..=0x7A | 0xC0..=0xD6 | 0xD8..=0xF6 | 0xF8..=0x2AF => {
                Some(Self::Latin)
            }
            0x1D00..=0x1D25
            | 0x1D2C..=0x1D9A
            | 0x1E00..=0x1EFF
            | 0x2132
            | 0x214E
            | 0x2183..=0x2184
            | 0x2C60..=0x2C7F
            | 0xA722..=0xA7FF
            | 0xAB30..=0xAB64
            | 0xAB66..=0xAB69
            | 0x10780..=0x107BF
            | 0x1DF00..=0x1DFFF => Some(Self::Latin),
            0x370..=0x3E1 | 0x3F0..=0x3FF | 0x1D26..=0x1D2A | 0x1F00..=0x1FFF | 0xAB65 => {
                Some(Self::Greek)
            }
            0x3E2..=0x3EF | 0x2C80..=0x2CFF => Some(Self::Coptic),
            0x400..=0x52F | 0x1C80..=0x1C8F | 0x1D2B | 0x2DE0..=0x2DFF | 0xA640..=0xA69F => {
                Some(Self::Cyrillic)
            }
            0x530..=0x58F => Some(Self::Armenian),
            0x13A0..=0x13FF | 0xAB70..=0xABBF => Some(Self::Cherokee),
            0xA4D0..=0xA4FF | 0x11FB0..=0x11FBF => Some(Self::Lisu),
            _ => None,
        }
    }
}

/// Whether `c` is a control, a format or bidirectional control, a line separator, invisible by
/// default, or no character at all. A test compares this with the Unicode tables.
fn is_hidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || code & 0xFFFE == 0xFFFE
        || matches!(code,
            0xAD | 0x34F | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2
            | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
            | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFDD0..=0xFDEF | 0xFE00..=0xFE0F
            | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1343F
            | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_format_and_invisible_character_of_unicode_is_hidden() {
        let hidden = regex::Regex::new(r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{DI}]").unwrap();
        for c in '\0'..=char::MAX {
            if hidden.is_match(c.encode_utf8(&mut [0; 4])) {
                assert!(is_hidden(c), "U+{:04X}", u32::from(c));
            }
        }
    }

    #[test]
    fn letters_digits_and_marks_are_not_hidden() {
        let shown = regex::Regex::new(r"[\p{L}\p{N}\p{P}\p{Zs}--\p{DI}]").unwrap();
        for c in '\0'..=char::MAX {
            if shown.is_match(c.encode_utf8(&mut [0; 4])) {
                assert!(!is_hidden(c), "U+{:04X}", u32::from(c));
            }
        }
    }

    #[test]
    fn letters_of_alphabets_that_look_alike_are_told_apart() {
        for (alphabet, letters) in [
            (Alphabet::Latin, r"[\p{Latin}&&\p{L}]"),
            (Alphabet::Greek, r"[\p{Greek}&&\p{L}]"),
            (Alphabet::Cyrillic, r"[\p{Cyrillic}&&\p{L}]"),
            (Alphabet::Armenian, r"[\p{Armenian}&&\p{L}]"),
            (Alphabet::Cherokee, r"[\p{Cherokee}&&\p{L}]"),
            (Alphabet::Coptic, r"[\p{Coptic}&&\p{L}]"),
            (Alphabet::Lisu, r"[\p{Lisu}&&\p{L}]"),
        ] {
            let letters = regex::Regex::new(letters).unwrap();
            for c in '\0'..=char::MAX {
                let text = nfc(&c.to_string());
                if text.starts_with(c) && letters.is_match(&text) && check_compatible(&text).is_ok()
                {
                    assert_eq!(Alphabet::of(c), Some(alphabet), "U+{:04X}", u32::from(c));
                }
            }
        }
        assert_eq!(check_one_alphabet("pаypal"), Err(ValueError::MixedAlphabets));
        assert_eq!(check_one_alphabet("пример"), Ok(()));
        assert_eq!(check_one_alphabet("例えtest"), Ok(()));
    }
}
