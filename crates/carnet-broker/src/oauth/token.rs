//! The token endpoint.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::oauth::authorize;
use crate::oauth::exchange::{EXCHANGE_BYTES_MAX, TOKEN_EXCHANGE};
use crate::oauth::federate;
use crate::oauth::form::Form;
use crate::oauth::prove::{CLIENT_CREDENTIALS, Caller, Credential};
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::subject::Asserted;
use crate::oauth::surface::Surface;
use crate::oauth::wanted::{Wanted, scope_of};
use crate::work::{IssuedToken, TokenRequest};

/// The header a nonce is told in.
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The longest form: an assertion of 8 KiB and everything else there can be.
const FORM_BYTES_MAX: usize = 24 * 1024;

/// Issues a token, or says why not.
pub(crate) async fn issue(State(surface): State<Arc<Surface>>, request: Request) -> Response {
    let response = match surface.token(request).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.into_response(),
    };
    with_nonce(&surface, response)
}

/// The answer with the nonce the next proof must hold, where one is demanded.
pub(crate) fn with_nonce(surface: &Surface, mut response: Response) -> Response {
    if let Some(nonces) = &surface.nonces
        && let Ok(nonce) = HeaderValue::from_str(&nonces.current(surface.broker.now().wall))
    {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

/// A request for a token, as read so far.
struct Asked<'a> {
    parts: &'a Parts,
    form: &'a Form,
    /// Who lets the client act for a person, where somebody does.
    asserted: Option<&'a Asserted>,
}

impl Surface {
    async fn token(&self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        check_head(&parts.headers, parts.uri.query())?;
        let mut form = read_form(&parts.headers, body).await?;
        let _turn = self.turn()?;
        let now = self.broker.now().wall;
        if form.get("grant_type") == Some(authorize::GRANT_TYPE) {
            let redeemed = self.redeem_code(&parts.headers, &form).await;
            return redeemed.map(|issued| granted(body_of(&issued)));
        }
        let asserted = Asserted::take(&mut form);
        let (caller, refused) = match form.get("grant_type") {
            _ if asserted.is_some() => self.client_of(&parts, &form, now)?,
            Some(CLIENT_CREDENTIALS | TOKEN_EXCHANGE) => self.client_of(&parts, &form, now)?,
            _ => {
                let credential = Credential::read(&form)?;
                let caller = self.authenticate(&credential, form.get("client_id"), now)?;
                (caller, credential.refused)
            }
        };
        if form.get("grant_type") == Some(TOKEN_EXCHANGE) {
            let exchanged = self.exchange(&caller, refused, &parts.headers, &form).await;
            return exchanged.map(granted);
        }
        if asserted.is_none() && federate::is_asked(&form, &self.issuer) {
            return self.federate(&caller, refused, &parts.headers, &form).await;
        }
        let asked = Asked { parts: &parts, form: &form, asserted: asserted.as_ref() };
        let issued = self.issue_to(&caller, refused, &asked).await;
        match &issued {
            Ok(issued) => {
                tracing::info!(agent = %caller.agent, task = %issued.task, bound = issued.is_bound, "token issued");
            }
            Err(refusal) => {
                tracing::info!(agent = %caller.id, code = refusal.code, "token refused");
            }
        }
        issued.map(|issued| granted(body_of(&issued)))
    }

    async fn issue_to(
        &self,
        caller: &Caller,
        refused: Kind,
        asked: &Asked<'_>,
    ) -> Result<IssuedToken, Refusal> {
        let Asked { parts, form, asserted } = *asked;
        let now = self.broker.now().wall;
        let vouched = asserted.map(|it| self.vouched(it, caller)).transpose()?;
        let proof = self.prove(&parts.headers, &self.token_endpoint, now)?;
        let bound = self.bound(parts, caller, now)?;
        // Who proves a key wants the token bound to that, and may use it over any connection.
        let bound = bound.filter(|_| proof.is_none());
        let wanted = Wanted::read(form, &self.issuer)?;
        if let Some(vouched) = &vouched {
            vouched.check(&wanted, &self.issuer, proof.as_ref())?;
        }
        self.spend(caller, refused, proof.as_ref(), now)?;
        if let Some(vouched) = &vouched {
            self.spend_vouched(vouched, &caller.agent)?;
        }
        let request = TokenRequest {
            agent: caller.agent.clone(),
            thumbprint: proof.map(|proof| proof.thumbprint).or(bound.map(|bound| bound.key)),
            certificate: bound.map(|bound| bound.certificate),
            task: wanted.task,
            subject: vouched.map(|it| it.user),
            resource: wanted.resource,
            path: wanted.path,
        };
        self.broker.issue_token(request).await.map_err(|error| {
            // The operator learns the rest.
            tracing::info!(agent = %caller.agent, %error, "the broker refused a token");
            Refusal::of_broker(&error, refused, wanted.named_in)
        })
    }
}

/// Credentials travel in the form and nowhere else.
pub(crate) fn check_head(headers: &HeaderMap, query: Option<&str>) -> Result<(), Refusal> {
    if headers.contains_key(header::AUTHORIZATION) {
        let advice = "clients authenticate with an SVID in the form; send no Authorization";
        return Err(Refusal::new(Kind::InvalidClient, "authorization_header", advice));
    }
    if query.is_some() {
        let advice = "parameters travel in the form; the address has no query";
        return Err(Refusal::new(Kind::InvalidRequest, "query_refused", advice));
    }
    Ok(())
}

/// Reads the form: an exchange may carry an intent.
async fn read_form(headers: &HeaderMap, body: Body) -> Result<Form, Refusal> {
    let form = Form::read(headers, body, EXCHANGE_BYTES_MAX).await?;
    match form.get("grant_type") {
        Some(TOKEN_EXCHANGE) => Ok(form),
        _ => form.within(FORM_BYTES_MAX),
    }
}

/// What an answer says of an access token.
pub(crate) fn body_of(issued: &IssuedToken) -> Value {
    json!({
        "access_token": issued.token.expose_secret(),
        "token_type": if issued.is_bound && !issued.is_of_certificate { "DPoP" } else { "Bearer" },
        "expires_in": issued.ttl_s,
        "scope": scope_of(&issued.task),
        "authorization_details": issued.details,
    })
}

fn granted(body: Value) -> Response {
    let mut response = Json(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
