//! What a client says of itself: the document its `client_id` is the address of
//! (`draft-ietf-oauth-client-id-metadata-document`).
//!
//! Only a client that an operator registered as an agent gets this far, so nobody makes us fetch
//! from where they like; and what is fetched comes from public addresses alone, without redirects.

use std::collections::HashMap;
use std::sync::Arc;

use carnet_core::Timestamp;
use carnet_identity::KeySet;
use serde_json::Value;

use super::redirect::RedirectUri;
use crate::broker::lock;
use crate::fetch::Reach;
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;

/// The longest document.
const BYTES_MAX: usize = 5 * 1024;
/// How long a document is kept: as its sender says, within these.
const KEPT_S_MIN: u64 = 60;
const KEPT_S_DEFAULT: u64 = 300;
const KEPT_S_MAX: u64 = 3600;
/// How long it is remembered that there was none.
const FAILED_S: i64 = 30;
/// The most documents kept.
const DOCUMENTS_MAX: usize = 256;
/// The most redirect URIs of one client, and the longest name.
const REDIRECTS_MAX: usize = 16;
const NAME_CHARS_MAX: usize = 80;

/// What a client says of itself.
pub(crate) struct ClientDocument {
    pub(crate) name: Option<String>,
    pub(crate) redirects: Vec<RedirectUri>,
    pub(crate) keys: Option<Arc<KeySet>>,
}

/// The documents fetched lately, and those that were none.
#[derive(Default)]
pub(crate) struct Documents {
    kept: HashMap<String, (Result<Arc<ClientDocument>, Refusal>, Timestamp)>,
}

impl Documents {
    fn get(&self, id: &str, now: Timestamp) -> Option<Result<Arc<ClientDocument>, Refusal>> {
        self.kept.get(id).filter(|(_, until)| now < *until).map(|(kept, _)| kept.clone())
    }

    fn keep(
        &mut self,
        id: &str,
        document: Result<Arc<ClientDocument>, Refusal>,
        until: Timestamp,
        now: Timestamp,
    ) {
        self.kept.retain(|_, (_, until)| now < *until);
        if self.kept.len() < DOCUMENTS_MAX {
            self.kept.insert(id.to_owned(), (document, until));
        }
    }
}

impl Surface {
    /// The document of the client `id`.
    pub(crate) async fn document(&self, id: &str) -> Result<Arc<ClientDocument>, Refusal> {
        let now = self.broker.now().wall;
        if let Some(kept) = lock(&self.people.documents).get(id, now) {
            return kept;
        }
        let fetched = self.fetch_document(id).await;
        let (document, until) = match fetched {
            Ok((document, age_s)) => (Ok(Arc::new(document)), now.plus_s(age_s)),
            Err(refusal) => (Err(refusal), now.plus_s(FAILED_S)),
        };
        lock(&self.people.documents).keep(id, document.clone(), until, now);
        document
    }

    async fn fetch_document(&self, id: &str) -> Result<(ClientDocument, i64), Refusal> {
        let host = host_of(id).ok_or(refused("client_id_no_address"))?;
        let is_listed = self.people.options.client_hosts.contains(&host);
        let reach = if is_listed { Reach::Configured } else { Reach::Public };
        let fetched = self.people.fetcher.get(id, reach, BYTES_MAX).await.map_err(|error| {
            tracing::warn!(client = id, %error, "a client's document cannot be fetched");
            refused("client_document_unreachable")
        })?;
        let document = ClientDocument::parse(id, &fetched.bytes).map_err(|code| {
            tracing::warn!(client = id, code, "a client's document is not acceptable");
            refused(code)
        })?;
        let age_s = fetched.max_age_s.unwrap_or(KEPT_S_DEFAULT).clamp(KEPT_S_MIN, KEPT_S_MAX);
        Ok((document, i64::try_from(age_s).unwrap_or(FAILED_S)))
    }
}

impl ClientDocument {
    /// Reads the document found at `id`, or tells the code of what is wrong with it.
    fn parse(id: &str, bytes: &[u8]) -> Result<Self, &'static str> {
        let said: Value = serde_json::from_slice(bytes).map_err(|_| "client_document_malformed")?;
        let text = |name: &str| said.get(name).and_then(Value::as_str);
        if text("client_id") != Some(id) {
            return Err("client_document_of_another");
        }
        if said.get("client_secret").is_some() {
            return Err("client_document_secret");
        }
        let redirects = said.get("redirect_uris").and_then(Value::as_array);
        let redirects = redirects.filter(|uris| (1..=REDIRECTS_MAX).contains(&uris.len()));
        let redirects = redirects.ok_or("client_document_redirects")?.iter();
        let redirects: Option<Vec<_>> =
            redirects.map(|uri| uri.as_str().and_then(RedirectUri::parse)).collect();
        let name = text("client_name").map(|name| name.chars().take(NAME_CHARS_MAX).collect());
        Ok(Self {
            name,
            redirects: redirects.ok_or("client_document_redirects")?,
            keys: keys_of(&said)?,
        })
    }
}

/// The keys of a client that authenticates; none of one that does not.
fn keys_of(said: &Value) -> Result<Option<Arc<KeySet>>, &'static str> {
    let jwks = said.get("jwks");
    match said.get("token_endpoint_auth_method").map(Value::as_str) {
        None | Some(Some("none")) => Ok(None),
        Some(Some("private_key_jwt")) => {
            let jwks = jwks.ok_or("client_document_keys")?.to_string();
            let keys = KeySet::from_foreign_jwks(jwks.as_bytes());
            keys.map(|keys| Some(Arc::new(keys))).map_err(|_| "client_document_keys")
        }
        Some(_) => Err("client_document_method"),
    }
}

/// The host of a `client_id` that is an address with a path of its own, written in one way. In clear
/// only on this machine, and then only where the operator lists it.
fn host_of(id: &str) -> Option<String> {
    let uri: axum::http::Uri = id.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let rest = id.strip_prefix(&format!("{scheme}://{authority}"))?;
    let has_dots = rest.split('/').any(|part| matches!(part, "." | ".."));
    let is_plain = rest.starts_with('/') && rest.len() > 1 && !rest.contains(['?', '#', '\\']);
    let is_known = matches!(scheme, "https" | "http") && !authority.as_str().contains('@');
    (is_plain && is_known && !has_dots).then(|| authority.host().to_owned())
}

fn refused(code: &'static str) -> Refusal {
    let advice = "the client's own document cannot be used; its publisher must mend it";
    Refusal::new(Kind::InvalidClient, code, advice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "https://app.example/client.json";

    fn document() -> Value {
        json!({ "client_id": ID, "client_name": "An <app>", "redirect_uris": ["https://app.example/cb"] })
    }

    fn read(said: &Value) -> Result<ClientDocument, &'static str> {
        ClientDocument::parse(ID, said.to_string().as_bytes())
    }

    #[test]
    fn a_document_says_who_it_is_and_where_answers_go() {
        let client = read(&document()).ok().unwrap();
        assert_eq!(client.name.as_deref(), Some("An <app>"));
        assert!(client.keys.is_none() && client.redirects.len() == 1);
    }

    #[test]
    fn a_document_that_is_another_clients_or_says_too_little_is_none() {
        for (name, value, code) in [
            ("client_id", json!("https://app.example/client.json/"), "client_document_of_another"),
            ("client_id", json!("HTTPS://app.example/client.json"), "client_document_of_another"),
            ("client_id", json!(null), "client_document_of_another"),
            ("client_secret", json!("s"), "client_document_secret"),
            ("redirect_uris", json!([]), "client_document_redirects"),
            ("redirect_uris", json!("https://app.example/cb"), "client_document_redirects"),
            ("redirect_uris", json!(["javascript:alert(1)"]), "client_document_redirects"),
            (
                "redirect_uris",
                json!(vec!["https://app.example/cb"; 17]),
                "client_document_redirects",
            ),
            ("token_endpoint_auth_method", json!("client_secret_basic"), "client_document_method"),
            ("token_endpoint_auth_method", json!(7), "client_document_method"),
            ("token_endpoint_auth_method", json!("private_key_jwt"), "client_document_keys"),
        ] {
            let mut said = document();
            said[name] = value.clone();
            assert_eq!(read(&said).err(), Some(code), "{name}: {value}");
        }
        assert!(ClientDocument::parse(ID, b"[]").is_err());
        assert!(ClientDocument::parse(ID, b"{").is_err());
    }

    #[test]
    fn an_address_has_a_path_and_one_spelling() {
        assert_eq!(host_of(ID).as_deref(), Some("app.example"));
        for id in [
            "https://app.example",
            "https://app.example/",
            "https://app.example/a/../b",
            "https://app.example/a#b",
            "https://app.example/a?b",
            "https://u@app.example/a",
            "ftp://app.example/a",
            "desk-editor",
            "",
        ] {
            assert_eq!(host_of(id), None, "{id}");
        }
    }

    #[test]
    fn a_document_is_kept_for_a_while_and_so_is_that_there_was_none() {
        let (mut documents, now) = (Documents::default(), Timestamp::from_s(1_800_000_000));
        let client = read(&document()).ok().map(Arc::new).unwrap();
        documents.keep(ID, Ok(client), now.plus_s(60), now);
        documents.keep(
            "https://b.example/a",
            Err(refused("client_document_malformed")),
            now.plus_s(30),
            now,
        );
        assert!(documents.get(ID, now.plus_s(59)).is_some_and(|kept| kept.is_ok()));
        assert!(documents.get(ID, now.plus_s(60)).is_none());
        assert!(
            documents.get("https://b.example/a", now.plus_s(29)).is_some_and(|kept| kept.is_err())
        );
        assert!(documents.get("https://b.example/a", now.plus_s(30)).is_none());
    }
}
