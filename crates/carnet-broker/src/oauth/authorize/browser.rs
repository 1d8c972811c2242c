//! The one browser an authorization goes on in: it holds a secret in a cookie of its own.

use axum::http::{HeaderMap, HeaderValue, header};
use carnet_core::Digest;

use super::flows::{FLOW_S, Secrets};
use crate::oauth::issuer::Issuer;

/// The most bytes of cookies that are looked through.
const COOKIES_BYTES_MAX: usize = 8 * 1024;

/// The digest of what a browser holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Browser(pub(crate) Digest);

impl Browser {
    /// The browser that sent `headers`, if it holds something for the authorization `id`. Two cookies
    /// of one name are none: somebody put one of them there.
    pub(crate) fn of(headers: &HeaderMap, issuer: &Issuer, id: &str) -> Option<Self> {
        let name = cookie_name(issuer, id);
        let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let sent: Vec<&str> = sent.collect();
        if sent.iter().map(|cookies| cookies.len()).sum::<usize>() > COOKIES_BYTES_MAX {
            return None;
        }
        let pairs = sent.iter().flat_map(|cookies| cookies.split(';')).map(str::trim);
        let mut found = pairs.filter_map(|pair| {
            let (known, value) = pair.split_once('=')?;
            (known == name).then_some(value)
        });
        match (found.next(), found.next()) {
            (Some(value), None) => Some(Self(Digest::of(value.as_bytes()))),
            _ => None,
        }
    }

    /// The header that gives a browser its secret.
    pub(crate) fn set(issuer: &Issuer, secrets: &Secrets) -> HeaderValue {
        let (name, secure) = (cookie_name(issuer, &secrets.id), secure(issuer));
        let cookie = format!(
            "{name}={}; Path=/; Max-Age={FLOW_S}; HttpOnly; SameSite=Lax{secure}",
            secrets.browser
        );
        HeaderValue::from_str(&cookie).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Its name. Over TLS no other host and no plain connection can set it.
fn cookie_name(issuer: &Issuer, id: &str) -> String {
    if is_tls(issuer) { format!("__Host-carnet-{id}") } else { format!("carnet-{id}") }
}

fn secure(issuer: &Issuer) -> &'static str {
    if is_tls(issuer) { "; Secure" } else { "" }
}

fn is_tls(issuer: &Issuer) -> bool {
    issuer.as_str().starts_with("https://")
}
