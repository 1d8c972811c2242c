//! Absolute URLs with a host, compared after normalisation.

use std::fmt;
use std::fmt::Write as _;

use super::ValueError;
use super::character::{check_compatible, check_visible, first_hidden};
use super::file_path::{encoded_bytes, hex_byte};
use super::host::{check_host_text, check_labels};

/// The longest URL.
const URL_BYTES_MAX: usize = 8192;
/// The schemes a binding can name, with the port that need not be written.
const SCHEMES: [(&str, u16); 4] = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];
/// Bytes that, encoded in a path, some servers decode before they resolve it.
const ENCODED_HAZARDS: [u8; 5] = [b'.', b'/', b'\\', 0, b'%'];

/// An absolute `http`, `https`, `ws` or `wss` URL in its one normal form.
#[derive(Debug, Clone)]
pub struct WebUrl {
    scheme: &'static str,
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
    has_plain_path: bool,
}

impl WebUrl {
    /// The URL `text` writes.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.len() > URL_BYTES_MAX {
            return Err(ValueError::TooLong);
        }
        check_visible(text)?;
        if text.contains('\\') {
            return Err(ValueError::Backslash);
        }
        if has_broken_encoding(text) {
            return Err(ValueError::NotAUrl);
        }
        let raw = Raw::split(text)?;
        let (scheme, default_port) = scheme(raw.scheme)?;
        check_authority(raw.authority)?;
        check_dot_segments(raw.path)?;
        let parsed = url::Url::parse(text).map_err(|_| ValueError::NotAUrl)?;
        Ok(Self {
            scheme,
            host: host(&parsed)?,
            port: parsed.port().unwrap_or(default_port),
            path: with_normal_encoding(parsed.path()),
            query: parsed.query().map(with_normal_encoding),
            fragment: parsed.fragment().map(with_normal_encoding),
            has_plain_path: is_plain_path(raw.path),
        })
    }

    /// The scheme, in lower case.
    pub const fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The host: a name in its ASCII form without a final dot, or an address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, written or not.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path, with dot segments resolved and what needs no encoding decoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it ends with its path.
    pub const fn is_without_query(&self) -> bool {
        self.query.is_none() && self.fragment.is_none()
    }

    /// Whether every server resolves the path alike: nothing in it hides a dot, a slash, a backslash,
    /// a NUL or a percent sign, and no segment but the last is empty.
    pub const fn has_plain_path(&self) -> bool {
        self.has_plain_path
    }

    /// Whether the path is `directory` or anything below it, component by component. A path that is
    /// not plain is under nothing.
    pub fn is_under(&self, directory: &str) -> bool {
        let directory = directory.strip_suffix('/').unwrap_or(directory);
        self.has_plain_path
            && self
                .path
                .strip_prefix(directory)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The parts of a URL as written, before anything is decoded.
struct Raw<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
}

impl<'a> Raw<'a> {
    fn split(text: &'a str) -> Result<Self, ValueError> {
        let (scheme, rest) = text.split_once("://").ok_or(ValueError::NotAUrl)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(end).ok_or(ValueError::NotAUrl)?;
        let path = tail.split(['?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err(ValueError::NotAUrl);
        }
        Ok(Self { scheme, authority, path })
    }
}

/// Whether some percent sign is not followed by two hexadecimal digits.
fn has_broken_encoding(text: &str) -> bool {
    text.matches('%').count() != encoded_bytes(text).count()
}

fn scheme(text: &str) -> Result<(&'static str, u16), ValueError> {
    let known = SCHEMES.into_iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case(text));
    known.ok_or(ValueError::UnsupportedScheme)
}

fn check_authority(authority: &str) -> Result<(), ValueError> {
    if authority.contains('@') {
        return Err(ValueError::UserInfo);
    }
    // A percent sign in a host is decoded by some parsers and refused by others.
    if authority.contains('%') {
        return Err(ValueError::NotAHost);
    }
    check_host_text(authority)
}

fn host(parsed: &url::Url) -> Result<String, ValueError> {
    match parsed.host() {
        Some(url::Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.split('.').any(str::is_empty) {
                return Err(ValueError::NotAHost);
            }
            check_labels(name)?;
            Ok(name.to_owned())
        }
        Some(address) => Ok(address.to_string()),
        None => Err(ValueError::NotAHost),
    }
}

/// Refuses encoded dot segments, and dot segments beside empty ones: a server that merges slashes
/// resolves those to another place.
fn check_dot_segments(path: &str) -> Result<(), ValueError> {
    let mut has_dots = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        let decoded = segment.replace("%2e", ".").replace("%2E", ".");
        let is_dots = matches!(decoded.as_str(), "." | "..");
        if is_dots && decoded != segment {
            return Err(ValueError::AmbiguousPath);
        }
        has_dots |= is_dots;
    }
    if has_dots && path.contains("//") {
        return Err(ValueError::AmbiguousPath);
    }
    Ok(())
}

fn is_plain_path(path: &str) -> bool {
    // Overlong UTF-8 and full-width dots are dots to some servers.
    let is_read_alike =
        |decoded: &String| first_hidden(decoded).is_none() && check_compatible(decoded).is_ok();
    // Some servers drop what follows a semicolon before they resolve dot segments.
    let hides_dots = |segment: &str| {
        let before = segment.split(';').next().unwrap_or_default();
        segment.contains(';') && matches!(before, "." | "..")
    };
    decoded(path).as_ref().is_some_and(is_read_alike)
        && !path.contains("//")
        && !path.split('/').any(hides_dots)
        && !encoded_bytes(path).any(|byte| ENCODED_HAZARDS.contains(&byte))
}

/// `text` with every encoding decoded, where that is UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let encoded = match (first, after) {
            (b'%', [high, low, tail @ ..]) => hex_byte(*high, *low).map(|byte| (byte, tail)),
            _ => None,
        };
        let (byte, tail) = encoded.unwrap_or((*first, after));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// `text` with unreserved characters decoded and other encodings in upper case (RFC 3986, 6.2.2).
fn with_normal_encoding(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let byte = match after.as_bytes() {
            [high, low, ..] => hex_byte(*high, *low),
            _ => None,
        };
        match byte {
            Some(byte) if is_unreserved(byte) => out.push(char::from(byte)),
            Some(byte) => {
                let _ = write!(out, "%{byte:02X}");
            }
            None => out.push('%'),
        }
        rest = byte.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    out.push_str(rest);
    out
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if !SCHEMES.contains(&(self.scheme, self.port)) {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)?;
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        self.fragment.as_ref().map_or(Ok(()), |fragment| write!(f, "#{fragment}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_url_have_one_form() {
        for (spelling, form) in [
            ("HTTPS://Api.Example.COM:443/v1", "https://api.example.com/v1"),
            ("https://api.example.com.", "https://api.example.com/"),
            ("https://api.example.com:/a/./b/../c", "https://api.example.com/a/c"),
            ("https://h.example/%7euser/%c3%a9/a%2Fb", "https://h.example/~user/%C3%A9/a%2Fb"),
            ("https://h.example/\u{e9}", "https://h.example/%C3%A9"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://2130706433:8080/", "http://127.0.0.1:8080/"),
            ("http://[::0001]:80/", "http://[::1]/"),
            ("https://B\u{dc}CHER.example?Q=%41", "https://xn--bcher-kva.example/?Q=A"),
        ] {
            assert_eq!(WebUrl::parse(spelling).unwrap().to_string(), form, "{spelling}");
        }
    }

    #[test]
    fn a_url_that_programs_read_differently_is_refused() {
        for text in [
            "",
            "x",
            "/v1",
            "//h.example/",
            "https:h.example",
            "https:/h.example",
            "https:///h",
            "https://",
            "https://u@h.example/",
            "https://u:p@h.example/",
            "https://@h.example/",
            "https://a.example@b.example/",
            "https://h.example\\@e.example/",
            "https://h.example/\\x",
            " https://h.example/",
            "https://h.example/\n",
            "https://h\t.example/",
            "ftp://h.example/",
            "file:///etc/passwd",
            "javascript://h.example/%0a",
            "https://h%2eexample/",
            "https://h\u{3002}example/",
            "https://\u{ff48}.example/",
            "https://h..example/",
            "https://h.example../",
            "https://h.example:99999/",
            "https://h.example/%2e%2e/x",
            "https://h.example/a/.%2E/x",
            "https://h.example/a//../x",
            "https://h.example/%zz",
            "https://h.example/%4",
            "https://h\u{200b}.example/",
            "https://p\u{430}ypal.example/",
        ] {
            assert!(WebUrl::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_covers_its_components_and_only_where_every_server_agrees() {
        let is_under = |path: &str| {
            WebUrl::parse(&format!("https://h.example{path}")).unwrap().is_under("/v1/x")
        };
        for inside in ["/v1/x", "/v1/x/", "/v1/x/y?q=/../", "/v1/./x/y", "/v1/x/%7e", "/%761/x"] {
            assert!(is_under(inside), "{inside}");
        }
        for outside in [
            "/",
            "/v1",
            "/v1/xy",
            "/V1/x",
            "/v1/x/../y",
            "/v1/x/%2fy",
            "/v1/x/a%2eb",
            "/v1/x//y",
            "/v1/x/%5c",
            "/v1/x/%252e",
            "/v1/x/..;/y",
            "/v1/x/.;a/y",
            "/v1/x/%00",
            "/v1/x/%c0%ae%c0%ae/y",
            "/v1/x/\u{2025}/y",
            "/v1/x/%ef%bc%8e%ef%bc%8e/y",
            "/v1/x/%0d%0a",
        ] {
            assert!(!is_under(outside), "{outside}");
        }
    }
}
