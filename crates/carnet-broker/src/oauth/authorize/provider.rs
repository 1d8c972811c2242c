//! The identity provider people log in with, and Carnet as its client: what it says of itself, its keys,
//! and the ID token it gives for a code.
//!
//! The operator names it, so what it names in turn is trusted as far as they trust it. Nothing of what it
//! sends is shown to anybody, and its access token is thrown away unread.

use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::{Digest, Timestamp};
use carnet_identity::{
    ExpectedForeign, ForeignClaims, ForeignKind, KeySet, SigningKey, TokenError,
    mint_client_assertion, verify_foreign,
};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::sync::Mutex;

use super::flows::Sent;
use super::redirect::encoded;
use crate::fetch::Fetcher;
use crate::oauth::form::Form;
use crate::oauth::refusal::{Kind, Refusal};
use crate::trust::reach_of;

/// The longest document of the provider, its answer to a code included.
const BYTES_MAX: usize = 256 * 1024;
/// How long its metadata and its keys are kept, in seconds.
const KEPT_S: i64 = 300;
/// How long it is remembered that it did not answer.
const FAILED_S: i64 = 10;
/// How often its keys are looked for again because of a name nobody knows, in seconds.
const AGAIN_S: i64 = 30;
/// How long ago an ID token may have been issued: it is fetched the moment it is made.
const AGE_S_MAX: i64 = 300;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The identity provider of the configuration, and the client it knows us as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderOptions {
    /// Its issuer: the `iss` of its tokens, exactly.
    pub issuer: String,
    /// The client we are there.
    pub client_id: String,
    /// Whom its server may be certified by, besides those the system trusts.
    pub ca: Vec<CertificateDer<'static>>,
}

/// The identity provider, and what is known of it.
pub(crate) struct Provider {
    options: ProviderOptions,
    fetcher: Fetcher,
    metadata: Mutex<Option<Known<MetadataRead>>>,
    keys: Mutex<Option<Known<Arc<KeySet>>>>,
}

/// What the provider says of itself, or that it said nothing of use.
type MetadataRead = Result<Arc<Metadata>, Refusal>;

struct Known<T> {
    what: T,
    at: Timestamp,
}

/// What the provider says of itself (OpenID Connect Discovery section 3).
#[derive(Debug)]
pub(crate) struct Metadata {
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    /// Whether each of its answers must name it (RFC 9207).
    names_itself: bool,
}

/// With what a code is redeemed.
pub(crate) struct Asking<'a> {
    pub(crate) key: &'a SigningKey,
    pub(crate) jti: &'a str,
    pub(crate) callback: &'a str,
    pub(crate) code: &'a str,
    pub(crate) sent: &'a Sent,
}

impl Provider {
    pub(crate) fn new(options: ProviderOptions) -> Self {
        let fetcher = Fetcher::new(&options.ca);
        Self { options, fetcher, metadata: Mutex::default(), keys: Mutex::default() }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// What a person knows it by.
    pub(crate) fn host(&self) -> String {
        let uri: Option<Uri> = self.options.issuer.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).map(ToOwned::to_owned);
        host.unwrap_or_else(|| "the identity provider".to_owned())
    }

    /// What it says of itself, read lately.
    pub(crate) async fn metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, Refusal> {
        let mut known = self.metadata.lock().await;
        if let Some(Known { what, at }) = &*known {
            let kept_s = if what.is_ok() { KEPT_S } else { FAILED_S };
            if now < at.plus_s(kept_s) {
                return what.clone();
            }
        }
        let what = self.fetch_metadata().await.map(Arc::new);
        *known = Some(Known { what: what.clone(), at: now });
        what
    }

    async fn fetch_metadata(&self) -> Result<Metadata, Refusal> {
        let issuer = self.issuer();
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let bytes = self.get(&url).await?;
        Metadata::parse(issuer, &bytes).map_err(|problem| {
            tracing::warn!(issuer, problem, "the identity provider's metadata is not acceptable");
            refused("provider_metadata")
        })
    }

    /// Where the browser of the authorization `id` is sent.
    pub(crate) fn address(
        &self,
        metadata: &Metadata,
        callback: &str,
        id: &str,
        sent: &Sent,
    ) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Digest::of(sent.verifier.as_bytes()).as_bytes());
        let state = format!("{id}.{}", sent.state);
        let asked = form(&[
            ("response_type", "code"),
            ("client_id", &self.options.client_id),
            ("redirect_uri", callback),
            ("scope", "openid"),
            ("state", &state),
            ("nonce", &sent.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let sign = if metadata.authorization_endpoint.contains('?') { '&' } else { '?' };
        format!("{}{sign}{asked}", metadata.authorization_endpoint)
    }

    /// The code of the provider's answer, where it is this provider's and no error.
    pub(crate) fn code<'a>(
        &self,
        metadata: &Metadata,
        answer: &'a Form,
    ) -> Result<&'a str, Refusal> {
        match answer.get("iss") {
            Some(iss) if iss != self.issuer() => return Err(refused("provider_differs")),
            None if metadata.names_itself => return Err(refused("provider_differs")),
            _ => {}
        }
        if let Some(error) = answer.get("error") {
            tracing::info!(?error, "the identity provider logs nobody in");
            return Err(refused("provider_error"));
        }
        answer.get("code").ok_or_else(|| refused("provider_error"))
    }

    /// The ID token the provider gives for a code.
    pub(crate) async fn redeem(
        &self,
        metadata: &Metadata,
        asking: &Asking<'_>,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let client_id = &self.options.client_id;
        let assertion =
            mint_client_assertion(asking.key, client_id, self.issuer(), asking.jti, now);
        let assertion = assertion.map_err(|error| {
            tracing::error!(%error, "the assertion for the identity provider is not signed");
            refused("provider_code")
        })?;
        let sent = form(&[
            ("grant_type", "authorization_code"),
            ("code", asking.code),
            ("redirect_uri", asking.callback),
            ("code_verifier", &asking.sent.verifier),
            ("client_id", client_id),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ]);
        let url = &metadata.token_endpoint;
        let reach = reach_of(self.issuer(), url);
        let answered = self.fetcher.post_form(url, reach, BYTES_MAX, sent).await;
        let answered = answered.map_err(|error| {
            tracing::warn!(%error, "the identity provider gives nothing for its code");
            refused("provider_code")
        })?;
        let said: Option<Value> = serde_json::from_slice(&answered.bytes).ok();
        let token = said.as_ref().and_then(|said| said.get("id_token")).and_then(Value::as_str);
        token.map(ToOwned::to_owned).ok_or_else(|| refused("provider_code"))
    }

    /// Verifies that `token` is an ID token for us, made for the browser that was sent with `nonce`.
    pub(crate) async fn verify(
        &self,
        metadata: &Metadata,
        token: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<ForeignClaims, Refusal> {
        let client_id = self.options.client_id.as_str();
        let verified = self.verify_signed(metadata, token, now).await?;
        let claims = verified.map_err(|error| {
            tracing::warn!(%error, "the identity provider's ID token is refused");
            refused("id_token_refused")
        })?;
        let is_ours = claims.text("nonce") == Some(nonce)
            && claims.get("azp").is_none_or(|azp| azp.as_str() == Some(client_id));
        let is_fresh = claims.issued.is_some_and(|issued| now <= issued.plus_s(AGE_S_MAX));
        if !is_ours || !is_fresh {
            tracing::warn!("the identity provider's ID token is for another login");
            return Err(refused("id_token_refused"));
        }
        Ok(claims)
    }

    /// Verifies `token` by the provider's keys, which are read once more where it names one that is
    /// not known.
    async fn verify_signed(
        &self,
        metadata: &Metadata,
        token: &str,
        now: Timestamp,
    ) -> Result<Result<ForeignClaims, TokenError>, Refusal> {
        let expected = ExpectedForeign {
            kind: ForeignKind::IdToken,
            issuer: self.issuer(),
            audience: &self.options.client_id,
        };
        let keys = self.keys(metadata, KEPT_S, now).await?;
        match verify_foreign(token, &keys, &expected, now) {
            Err(TokenError::KeyUnknown) => {
                let keys = self.keys(metadata, AGAIN_S, now).await?;
                Ok(verify_foreign(token, &keys, &expected, now))
            }
            verified => Ok(verified),
        }
    }

    /// Its keys, of at most `age_s`.
    async fn keys(
        &self,
        metadata: &Metadata,
        age_s: i64,
        now: Timestamp,
    ) -> Result<Arc<KeySet>, Refusal> {
        let mut known = self.keys.lock().await;
        if let Some(Known { what, at }) = &*known
            && now < at.plus_s(age_s)
        {
            return Ok(Arc::clone(what));
        }
        let bytes = self.get(&metadata.jwks_uri).await?;
        let keys = KeySet::from_foreign_jwks(&bytes).map_err(|error| {
            tracing::warn!(%error, "the identity provider's keys are not acceptable");
            refused("provider_keys")
        })?;
        let what = Arc::new(keys);
        *known = Some(Known { what: Arc::clone(&what), at: now });
        Ok(what)
    }

    async fn get(&self, url: &str) -> Result<bytes::Bytes, Refusal> {
        let fetched = self.fetcher.get(url, reach_of(self.issuer(), url), BYTES_MAX).await;
        fetched.map(|document| document.bytes).map_err(|error| {
            tracing::warn!(%error, "the identity provider does not answer");
            refused("provider_unreachable")
        })
    }
}

impl Metadata {
    /// Reads what the provider `issuer` says of itself, or tells what is wrong with it.
    fn parse(issuer: &str, bytes: &[u8]) -> Result<Self, &'static str> {
        let said: Value = serde_json::from_slice(bytes).map_err(|_| "is not JSON")?;
        let text = |name: &str| said.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err("is of another `issuer`: write `login.issuer` exactly as it says");
        }
        let scheme = if issuer.starts_with("https:") { "https://" } else { "http" };
        let is_address = |url: &&str| {
            let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
            url.starts_with(scheme) && url.bytes().all(is_plain)
        };
        let address = |name: &str| text(name).filter(is_address).map(ToOwned::to_owned);
        let missing = "has no usable `authorization_endpoint`, `token_endpoint` or `jwks_uri`";
        let methods = said.get("code_challenge_methods_supported").and_then(Value::as_array);
        if methods.is_some_and(|all| !all.iter().any(|method| method == "S256")) {
            return Err("has no `S256` in `code_challenge_methods_supported`");
        }
        let names_itself = said.get("authorization_response_iss_parameter_supported");
        Ok(Self {
            authorization_endpoint: address("authorization_endpoint").ok_or(missing)?,
            token_endpoint: address("token_endpoint").ok_or(missing)?,
            jwks_uri: address("jwks_uri").ok_or(missing)?,
            names_itself: names_itself.and_then(Value::as_bool).unwrap_or_default(),
        })
    }
}

/// A login that came to nothing, with its code. The person is told no more than that.
pub(crate) fn refused(code: &'static str) -> Refusal {
    match code {
        "person_unknown" => {
            let advice = "you are not known here; an operator can change that";
            Refusal::new(Kind::AccessDenied, code, advice).with_status(StatusCode::FORBIDDEN)
        }
        "provider_unreachable" | "provider_metadata" | "provider_keys" => {
            let advice =
                "the identity provider cannot be used; the operator can see why in the log";
            Refusal::new(Kind::Unavailable, code, advice)
        }
        _ => {
            let advice =
                "the identity provider's answer was refused; the operator can see why in the log";
            Refusal::new(Kind::AccessDenied, code, advice)
        }
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_provider_says_exactly_who_it_is_and_leads_nowhere_in_clear() {
        let issuer = "https://idp.example/t";
        let good = json!({ "issuer": issuer, "authorization_endpoint": "https://idp.example/a",
            "token_endpoint": "https://idp.example/t", "jwks_uri": "https://idp.example/k" });
        let read = |said: &Value| Metadata::parse(issuer, said.to_string().as_bytes());
        assert!(read(&good).is_ok_and(|read| !read.names_itself));
        for (name, value) in [
            ("issuer", json!("https://idp.example/t/")),
            ("issuer", json!("https://idp.example")),
            ("issuer", json!(null)),
            ("authorization_endpoint", json!("http://idp.example/a")),
            ("authorization_endpoint", json!("javascript:alert(1)")),
            ("authorization_endpoint", json!("https://idp.example/a#b")),
            ("authorization_endpoint", json!("https://idp.example/a\r\nb: c")),
            ("token_endpoint", json!("http://idp.example/t")),
            ("jwks_uri", json!(7)),
            ("code_challenge_methods_supported", json!(["plain"])),
        ] {
            let mut said = good.clone();
            said[name] = value.clone();
            assert!(read(&said).is_err(), "{name}: {value}");
        }
        assert!(Metadata::parse(issuer, b"{").is_err());
    }
}
