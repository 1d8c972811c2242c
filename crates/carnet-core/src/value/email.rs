//! Email addresses: the local part exactly, the domain by IDNA.

use std::fmt;

use serde::{Serialize, Serializer};

use super::character::{check_compatible, check_one_alphabet, check_visible};
use super::{ValueError, canonical_host, nfc};

/// The longest address.
const EMAIL_BYTES_MAX: usize = 254;
/// The longest local part.
const LOCAL_BYTES_MAX: usize = 64;

/// One plain address. Display names, comments, quoted local parts, address literals and lists of
/// addresses are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    local: String,
    domain: EmailDomain,
}

/// The domain of an address, in its ASCII form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailDomain(String);

impl Email {
    /// The address `text` writes.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.len() > EMAIL_BYTES_MAX {
            return Err(ValueError::TooLong);
        }
        let (local, domain) = text.split_once('@').ok_or(ValueError::NotAnEmail)?;
        Ok(Self { local: canonical_local(local)?, domain: EmailDomain::parse(domain)? })
    }

    /// The domain.
    pub const fn domain(&self) -> &EmailDomain {
        &self.domain
    }
}

impl EmailDomain {
    /// The domain `text` writes.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.len() > EMAIL_BYTES_MAX {
            return Err(ValueError::TooLong);
        }
        let host = canonical_host(text)?;
        let last = host.rsplit('.').next().unwrap_or_default();
        // A final dot is no part of an address, and a numeric last label would be an IP address.
        if text.ends_with('.') || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ValueError::NotAnEmail);
        }
        Ok(Self(host))
    }
}

fn canonical_local(text: &str) -> Result<String, ValueError> {
    check_visible(text)?;
    check_compatible(text)?;
    let text = nfc(text);
    check_one_alphabet(&text)?;
    let plain = !text.is_empty()
        && text.len() <= LOCAL_BYTES_MAX
        && text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_char));
    if plain { Ok(text) } else { Err(ValueError::NotAnEmail) }
}

/// `!` and `%` are left out of what an address may hold: old relays read a route behind them.
fn is_atom_char(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || "#$&'*+-/=?^_`{|}~".contains(c)
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Display for EmailDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for EmailDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_compared_by_idna_and_the_local_part_exactly() {
        let email = |text: &str| Email::parse(text).unwrap();
        assert_eq!(email("alice@EXAMPLE.com"), email("alice@example.com"));
        assert_eq!(email("alice@BÜCHER.example"), email("alice@xn--bcher-kva.example"));
        assert_ne!(email("Alice@example.com"), email("alice@example.com"));
        assert_eq!(email("re\u{301}my@example.com"), email("r\u{e9}my@example.com"));
    }

    #[test]
    fn anything_but_one_plain_address_is_refused() {
        for text in [
            "",
            "@",
            "a@",
            "@b.c",
            "a b@c.d",
            "a@b@c.d",
            "a@b.c,d@e.f",
            "Al <a@b.c>",
            "(x)a@b.c",
            "\"a\"@b.c",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
            "a@b..c",
            "a@b.c.",
            "a@[1.2.3.4]",
            "a@1.2.3.4",
            "a@-b.c",
            "a@b_c.d",
            "a@b.c\n",
            " a@b.c",
            "a\u{200b}@b.c",
            "a@b\u{ad}.c",
            "\u{202e}a@b.c",
            "a\u{ff20}b@c.d",
            "a@b\u{3002}c",
            "a@\u{ff42}.c",
            "pаypal@b.c",
            "a@pаypal.com",
            "a;b@c.d",
            "a:b@c.d",
            "a\\b@c.d",
            "a[b]@c.d",
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
        assert!(Email::parse(&format!("{}@b.c", "a".repeat(65))).is_err());
        assert!(Email::parse(&format!("a@{}.com", "b.".repeat(150))).is_err());
    }
}
