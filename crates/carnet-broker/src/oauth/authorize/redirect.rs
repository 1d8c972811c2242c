//! Where a client's answers go: a redirect URI, compared exactly.

use axum::http::Uri;

/// The longest redirect URI.
const BYTES_MAX: usize = 512;

/// A redirect URI a client has registered or asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedirectUri {
    text: String,
    scheme: String,
    host: String,
    port: Option<u16>,
    /// Everything behind host and port.
    rest: String,
}

/// Where an answer goes, and the client's own word in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Back {
    pub(crate) redirect: RedirectUri,
    pub(crate) state: Option<String>,
}

impl RedirectUri {
    /// Reads a redirect URI: https; http on this machine (RFC 8252 section 7.3); or a scheme of the
    /// client's own that holds a dot (section 7.1), so that no browser gives it another meaning.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}#".contains(&byte);
        if text.len() > BYTES_MAX || !text.bytes().all(is_plain) {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        if scheme != scheme.to_ascii_lowercase() {
            return None;
        }
        if scheme.contains('.') {
            let is_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
            let begins = scheme.starts_with(|c: char| c.is_ascii_lowercase());
            return (begins && scheme.bytes().all(is_scheme))
                .then(|| Self::of_app(text, scheme, rest));
        }
        Self::of_web(text, scheme)
    }

    fn of_app(text: &str, scheme: &str, rest: &str) -> Self {
        let (text, scheme, rest) = (text.to_owned(), scheme.to_owned(), rest.to_owned());
        Self { text, scheme, host: String::new(), port: None, rest }
    }

    fn of_web(text: &str, scheme: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let host = authority.host();
        if authority.as_str().contains('@') || host.is_empty() || authority.as_str().ends_with(':')
        {
            return None;
        }
        let is_known = match scheme {
            "https" => true,
            "http" => is_loopback(host),
            _ => false,
        };
        let head = format!("{scheme}://{authority}");
        let rest = text.strip_prefix(&head)?;
        // What the reader made of it must be what is there.
        if !is_known || !(rest.is_empty() || rest.starts_with(['/', '?'])) {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port: authority.port_u16(),
            rest: rest.to_owned(),
        })
    }

    /// Whether `asked` is this one: byte for byte, but for the port of an address on the person's
    /// own machine, which a program gets anew at each start.
    pub(crate) fn is_same(&self, asked: &Self) -> bool {
        if self.text == asked.text {
            return true;
        }
        self.scheme == "http"
            && asked.scheme == "http"
            && is_loopback_address(&self.host)
            && self.host == asked.host
            && self.rest == asked.rest
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the answer stays on the person's own machine, where any program may listen.
    pub(crate) fn is_local(&self) -> bool {
        is_loopback(&self.host) || self.host.is_empty()
    }

    /// What a person is shown of it.
    pub(crate) fn shown(&self) -> &str {
        if self.host.is_empty() { &self.scheme } else { &self.host }
    }

    /// What a page must let its form lead to, so that a browser follows the answer.
    pub(crate) fn form_action(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        // The policy's grammar has no addresses in brackets.
        if self.host.is_empty() || self.host.starts_with('[') {
            return format!("{}:", self.scheme);
        }
        format!("{}://{}{port}", self.scheme, self.host)
    }
}

impl Back {
    /// The address with an answer in it, which names us (RFC 9207).
    pub(crate) fn answer(&self, said: &[(&str, &str)], issuer: &str) -> String {
        let mut address = self.redirect.text.clone();
        let mut sign = if address.contains('?') { '&' } else { '?' };
        let state = self.state.as_deref().map(|state| ("state", state));
        for (name, value) in said.iter().copied().chain(state).chain([("iss", issuer)]) {
            address.push(sign);
            address.push_str(name);
            address.push('=');
            address.push_str(&encoded(value));
            sign = '&';
        }
        address
    }
}

fn is_loopback_address(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "[::1]")
}

fn is_loopback(host: &str) -> bool {
    is_loopback_address(host) || host == "localhost"
}

/// `text` as a value of a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(registered: &str, asked: &str) -> bool {
        let registered = RedirectUri::parse(registered).unwrap();
        RedirectUri::parse(asked).is_some_and(|asked| registered.is_same(&asked))
    }

    #[test]
    fn a_redirect_uri_that_is_nearly_the_registered_one_is_another() {
        let registered = "https://app.example/cb";
        assert!(is_same(registered, registered));
        for near in [
            "https://app.example/cb/",
            "https://app.example/cb?a=1",
            "https://app.example/cb#",
            "https://app.example/CB",
            "https://APP.example/cb",
            "HTTPS://app.example/cb",
            "https://app.example:443/cb",
            "https://app.example:8443/cb",
            "https://app.example/cb/../evil",
            "https://app.example/%63b",
            "https://app.example.evil.example/cb",
            "https://evil.example/https://app.example/cb",
            "https://app.example@evil.example/cb",
            "https://u:p@app.example/cb",
            "https://app.example\\@evil.example/cb",
            "https://app.example/c b",
            "http://app.example/cb",
            "https://app.example",
            "//app.example/cb",
            "app.example/cb",
            "",
        ] {
            assert!(!is_same(registered, near), "{near}");
        }
    }

    #[test]
    fn only_the_port_of_an_address_of_this_machine_may_differ() {
        for (registered, asked, same) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:5123/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", true),
            ("http://[::1]/cb", "http://[::1]:7/cb", true),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5123/cb2", false),
            ("http://127.0.0.1/cb", "http://[::1]:5123/cb", false),
            ("http://127.0.0.1/cb", "http://localhost:5123/cb", false),
            ("http://127.0.0.1/cb", "https://127.0.0.1:5123/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false),
            ("http://localhost/cb", "http://localhost:5123/cb", false),
            ("https://127.0.0.1/cb", "https://127.0.0.1:5123/cb", false),
        ] {
            assert_eq!(is_same(registered, asked), same, "{registered} and {asked}");
        }
    }

    #[test]
    fn what_a_browser_would_run_or_open_is_no_redirect_uri() {
        for text in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "http://app.example/cb",
            "http://127.0.0.1.evil.example/",
            "vbscript:x",
            "about:blank",
            "https:app.example",
            "https:///cb",
            "https://app.example:/cb",
        ] {
            assert!(RedirectUri::parse(text).is_none(), "{text}");
        }
        assert!(RedirectUri::parse("com.example.app:/cb").is_some());
    }

    #[test]
    fn an_answer_says_whose_it_is_and_adds_to_no_other_part() {
        let redirect = RedirectUri::parse("https://app.example/cb?a=b").unwrap();
        let back = Back { redirect, state: Some("x&iss=evil#".to_owned()) };
        assert_eq!(
            back.answer(&[("code", "c")], "https://carnet.example"),
            "https://app.example/cb?a=b&code=c&state=x%26iss%3Devil%23&iss=https%3A%2F%2Fcarnet.example"
        );
    }
}
