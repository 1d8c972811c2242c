//! Resource URIs that can mean only one thing.

use url::Url;

/// The longest URI.
const URI_BYTES_MAX: usize = 4096;

/// Refuses a URI that two readers could resolve to two things. Nothing is normalised: what is
/// decided on is what is sent. Whether the resource may be read is for policy.
pub(super) fn check(uri: &str) -> Result<(), &'static str> {
    if uri.is_empty() || uri.len() > URI_BYTES_MAX {
        return Err("is empty or longer than 4096 bytes");
    }
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err("is not an absolute URI: begin with a scheme");
    };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !scheme_fits {
        return Err("is not an absolute URI: begin with a scheme");
    }
    if !uri.bytes().all(is_uri_byte) {
        return Err(
            "has a character a URI may not have: percent-encode it; templates are not URIs",
        );
    }
    if !escapes_fit(uri) {
        return Err("has a `%` that is not followed by two hexadecimal digits");
    }
    check_segments(rest)
}

/// Whether the URL is one a person may be sent to: https, with a host, and no user in it.
pub(super) fn is_web_address(text: &str) -> bool {
    text.len() <= URI_BYTES_MAX
        && Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https"
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        })
}

fn is_uri_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b)
}

fn escapes_fit(uri: &str) -> bool {
    uri.split('%').skip(1).all(|after| {
        let mut digits = after.bytes();
        matches!((digits.next(), digits.next()),
            (Some(a), Some(b)) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
    })
}

fn check_segments(rest: &str) -> Result<(), &'static str> {
    let path = rest.split(['?', '#']).next().unwrap_or(rest).to_ascii_lowercase();
    // An encoded separator or control character splits for some readers and not for others; an
    // encoded percent sign is a second encoding.
    if ["%2f", "%5c", "%00", "%25", "%0a", "%0d"].iter().any(|escape| path.contains(escape)) {
        return Err("has an encoded `/`, `\\`, `%` or control character in its path");
    }
    let plain = path.replace("%2e", ".");
    if plain.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("has `.` or `..` in its path: write where it leads");
    }
    Ok(())
}
