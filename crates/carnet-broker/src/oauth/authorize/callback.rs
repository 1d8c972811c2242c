//! A person who comes by way of an identity provider: sent there, and back with its answer (OpenID
//! Connect Core section 3.1, RFC 9207).

use std::sync::Arc;

use axum::extract::{Path as UrlPath, RawQuery, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use carnet_core::{LockTarget, UserName};

use super::browser::Browser;
use super::flows::{Sent, secret};
use super::provider::{Asking, Provider, refused};
use super::{QUERY_BYTES_MAX, no_randomness, page, see_other};
use crate::broker::lock;
use crate::keys::KeyPurpose;
use crate::oauth::form::Form;
use crate::oauth::refusal::{Kind, NamedIn, Refusal};
use crate::oauth::surface::Surface;

/// Sends a browser to the identity provider.
pub(crate) async fn leave(
    State(surface): State<Arc<Surface>>,
    UrlPath(id): UrlPath<String>,
    request: Request,
) -> Response {
    let Some(browser) = surface.browser(&request, &id) else { return page::gone() };
    shown(surface.leave(&id, &browser).await)
}

/// Takes the answer of the identity provider, as the browser brings it.
pub(crate) async fn callback(
    State(surface): State<Arc<Surface>>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    shown(surface.returned(query.as_deref().unwrap_or_default(), request.headers()).await)
}

/// What went wrong is told to the person. Their client is told nothing: nobody has said who is there.
fn shown(answer: Result<Response, Refusal>) -> Response {
    answer.unwrap_or_else(|refusal| {
        tracing::info!(code = refusal.code, "a login by the identity provider is refused");
        page::not_logged_in(&refusal)
    })
}

impl Surface {
    async fn leave(&self, id: &str, browser: &Browser) -> Result<Response, Refusal> {
        let now = self.broker.now().wall;
        let is_theirs = lock(&self.broker.flows).of_browser(id, browser, now).is_some();
        let (Some(provider), true) = (&self.people.provider, is_theirs) else {
            return Ok(page::gone());
        };
        let _turn = self.turn()?;
        let metadata = provider.metadata(now).await?;
        let sent = Sent::generate().ok_or_else(no_randomness)?;
        let address = provider.address(&metadata, &self.callback(), id, &sent);
        let is_sent = lock(&self.broker.flows).send(id, browser, sent, now).is_some();
        // Whoever is known by now needs no other to say so.
        Ok(see_other(&if is_sent { address } else { format!("/oauth/login/{id}") }))
    }

    async fn returned(&self, query: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
        if query.len() > QUERY_BYTES_MAX {
            let advice = "the answer is longer than is read here";
            return Err(Refusal::new(Kind::InvalidRequest, "query_too_long", advice));
        }
        let form = Form::of_query(query)?;
        let state = form.get("state").and_then(|state| state.split_once('.'));
        let (Some(provider), Some((id, state))) = (&self.people.provider, state) else {
            return Ok(page::gone());
        };
        let Some(browser) = Browser::of(headers, &self.issuer, id) else { return Ok(page::gone()) };
        let _turn = self.turn()?;
        let now = self.broker.now().wall;
        let returned = lock(&self.broker.flows).returned(id, &browser, state, now);
        let Some(sent) = returned else { return Ok(page::gone()) };
        let person = self.told_by(provider, &form, &sent).await?;
        tracing::info!(%person, "the identity provider says who is at a browser");
        let logged_in = lock(&self.broker.flows).log_in(id, &browser, person, now);
        Ok(logged_in.map_or_else(page::gone, |()| see_other(&format!("/oauth/login/{id}"))))
    }

    /// Who it is, by the answer of the provider and the ID token it gives for its code.
    async fn told_by(
        &self,
        provider: &Provider,
        answer: &Form,
        sent: &Sent,
    ) -> Result<UserName, Refusal> {
        let now = self.broker.now().wall;
        let metadata = provider.metadata(now).await?;
        let code = provider.code(&metadata, answer)?;
        let key = self
            .broker
            .signing_key(KeyPurpose::Client)
            .map_err(|error| Refusal::of_broker(&error, Kind::ServerError, NamedIn::Nothing))?;
        let jti = secret().ok_or_else(no_randomness)?;
        let callback = self.callback();
        let asking = Asking { key: &key, jti: &jti, callback: &callback, code, sent };
        let token = provider.redeem(&metadata, &asking, now).await?;
        let claims = provider.verify(&metadata, &token, &sent.nonce, now).await?;
        self.person_of(provider.issuer(), claims.subject())
    }

    /// The person the provider calls `subject`. One who is locked is as unknown as anybody.
    fn person_of(&self, issuer: &str, subject: &str) -> Result<UserName, Refusal> {
        let view = self.broker.view();
        let person = view.snapshot.user_of(issuer, subject).map(|user| user.name.clone());
        let is_free = |name: &UserName| !view.snapshot.is_locked(&LockTarget::User(name.clone()));
        person.filter(is_free).ok_or_else(|| refused("person_unknown"))
    }

    fn callback(&self) -> String {
        format!("{}/oauth/callback", self.issuer.as_str())
    }
}
