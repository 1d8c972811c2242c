//! Host names, for URLs and for the domain of an email address.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::ValueError;
use super::character::{check_compatible, check_one_alphabet, check_visible};

/// Dots other than the full stop that IDNA reads as one.
const OTHER_DOTS: [char; 3] = ['\u{3002}', '\u{FF0E}', '\u{FF61}'];

/// The ASCII form of a domain name: lower case, international labels in Punycode, no final dot.
pub(crate) fn canonical_host(text: &str) -> Result<String, ValueError> {
    check_host_text(text)?;
    let name = text.strip_suffix('.').unwrap_or(text);
    let ascii = Uts46::new()
        .to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| ValueError::NotAHost)?;
    check_labels(&ascii)?;
    Ok(ascii.into_owned())
}

/// Refuses a host, as written, that programs read differently.
pub(super) fn check_host_text(text: &str) -> Result<(), ValueError> {
    check_visible(text)?;
    if text.contains(OTHER_DOTS) {
        return Err(ValueError::CompatibilityCharacter);
    }
    check_compatible(text)
}

/// Refuses a domain name with a label that mixes alphabets.
pub(super) fn check_labels(ascii: &str) -> Result<(), ValueError> {
    if !ascii.contains("xn--") {
        return Ok(());
    }
    let (unicode, read) = idna::domain_to_unicode(ascii);
    read.map_err(|_| ValueError::NotAHost)?;
    unicode.split('.').try_for_each(check_one_alphabet)
}
