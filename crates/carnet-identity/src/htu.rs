//! The URL a proof is made for (RFC 9449 sections 4.2 and 4.3), in one spelling.

use url::Url;

/// The longest URL.
const URL_BYTES_MAX: usize = 2048;

/// The canonical form of a URL as it may stand in `htu`: absolute, http or https, without user,
/// query and fragment. Scheme and host in lower case, default port gone (RFC 3986 section 6.2).
///
/// The file path must already be what a URL parser would make of it: were `/a/../b` taken for
/// `/b`, two readers could disagree on what was signed.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'?' | b'#'));
    if text.len() > URL_BYTES_MAX || !plain {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at)?,
        None => (rest, "/"),
    };
    let url = Url::parse(text).ok()?;
    let known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let exact = url.path() == path && !authority.is_empty() && !authority.contains('@');
    (known && exact && url.host().is_some()).then(|| url.into())
}

/// `url` without its query and fragment: what a proof for it is made over.
pub(crate) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_url_are_one() {
        let canon = Some("https://gw.example/read/mcp/desk".to_owned());
        for text in [
            "https://gw.example/read/mcp/desk",
            "HTTPS://GW.Example/read/mcp/desk",
            "https://gw.example:443/read/mcp/desk",
        ] {
            assert_eq!(canonical(text), canon, "{text}");
        }
        assert_eq!(canonical("http://gw.example"), canonical("http://gw.example:80/"));
        assert!(canonical("http://[::1]:8080/a").is_some());
    }

    #[test]
    fn what_another_reader_could_take_for_another_url_is_refused() {
        for text in [
            "",
            "/read",
            "gw.example/read",
            "ftp://gw.example/a",
            "https:///a",
            "https:gw.example",
            "https://u@gw.example/a",
            "https://u:p@gw.example/a",
            "https://gw.example/a?b",
            "https://gw.example/a#b",
            "https://gw.example/a/../b",
            "https://gw.example/./a",
            "https://gw.example/a/%2e%2e/b",
            "https://gw.example/a\\b",
            "https://gw.example/a b",
            "https://gw.example/a\t",
            " https://gw.example/a",
            "https://gw.example/é",
            "https://gw.example:99999/a",
            "https://gw.example?",
            "javascript://gw.example/a",
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
    }
}
