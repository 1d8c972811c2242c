//! The authorization endpoint: a person at a browser lets their client act for them, within one task.
//!
//! The client is a registered agent, the person a known user. Who is at the browser is told by the
//! operators' socket (`carnet login CODE`) or by the identity provider of the configuration. What they agree to is a task whose subject they are,
//! decided by the policy set in force like any other, and the client gets a code for one token of it
//! (RFC 6749 section 4.1, RFC 7636, RFC 9207). There is no refresh token and no password.
//!
//! What waits for a person is in memory only, bounded, and dies within minutes.

mod browser;
mod callback;
mod client;
mod codes;
mod consent;
mod document;
pub(crate) mod flows;
mod page;
mod provider;
mod redeem;
mod redirect;
mod request;

use std::sync::{Arc, Mutex};

use axum::extract::{Path as UrlPath, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::broker::lock;
use crate::fetch::Fetcher;
use crate::oauth::form::Form;
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;
use browser::Browser;
pub(crate) use callback::{callback, leave};
use codes::Codes;
use consent::Answer;
use document::Documents;
use flows::{Flow, Secrets};
use provider::Provider;
pub use provider::ProviderOptions;
pub(crate) use redeem::GRANT_TYPE;
pub(crate) use request::Asked;
use request::Stop;

/// The longest query that is read.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// The longest answer of a person: a token against forgery, a digest, and yes or no.
const ANSWER_BYTES_MAX: usize = 1024;

/// How people come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginOptions {
    /// Hosts within our own walls whose client documents are fetched too. Every other document comes
    /// from a public address.
    pub client_hosts: Vec<String>,
    /// The identity provider that says who people are, besides the operators' socket.
    pub provider: Option<ProviderOptions>,
}

/// What the authorization endpoint remembers, and what it fetches with.
pub(crate) struct People {
    options: LoginOptions,
    fetcher: Fetcher,
    provider: Option<Provider>,
    documents: Mutex<Documents>,
    codes: Mutex<Codes>,
}

impl People {
    pub(crate) fn new(options: LoginOptions) -> Self {
        Self {
            provider: options.provider.clone().map(Provider::new),
            options,
            fetcher: Fetcher::new(&[]),
            documents: Mutex::default(),
            codes: Mutex::default(),
        }
    }
}

/// Takes a client's request, and sends its person on to say who they are.
pub(crate) async fn authorize(
    State(surface): State<Arc<Surface>>,
    RawQuery(query): RawQuery,
) -> Response {
    match surface.begin(query.as_deref()).await {
        Ok(response) => response,
        Err(stop) => surface.stopped(&stop),
    }
}

/// Shows how far a person's authorization is: who they are is asked, or whether they agree.
pub(crate) async fn show(
    State(surface): State<Arc<Surface>>,
    UrlPath(id): UrlPath<String>,
    request: Request,
) -> Response {
    let now = surface.broker.now().wall;
    let Some(browser) = surface.browser(&request, &id) else { return page::gone() };
    let flow = lock(&surface.broker.flows).of_browser(&id, &browser, now);
    match flow {
        None => page::gone(),
        Some(Flow { person: None, code, asked, .. }) => {
            let provider = surface.people.provider.as_ref().map(Provider::host);
            page::login(&id, &code, &asked, provider.as_deref())
        }
        Some(flow) => surface.ask(&id, &flow),
    }
}

/// Takes a person's yes or no.
pub(crate) async fn answer(
    State(surface): State<Arc<Surface>>,
    UrlPath(id): UrlPath<String>,
    request: Request,
) -> Response {
    let browser = surface.browser(&request, &id);
    // The guard let no other origin through; a browser that sends none is not one we know.
    let (Some(browser), true) = (browser, request.headers().contains_key(header::ORIGIN)) else {
        return page::gone();
    };
    let (parts, body) = request.into_parts();
    let form = match Form::read(&parts.headers, body, ANSWER_BYTES_MAX).await {
        Ok(form) => form,
        Err(refusal) => return page::refused(&refusal),
    };
    let Some(answer) = Answer::read(&form) else { return page::gone() };
    match surface.decide(&id, &browser, &answer).await {
        Ok(response) => response,
        Err(stop) => surface.stopped(&stop),
    }
}

/// Whether `text` may be registered as a redirect URI.
pub(crate) fn is_redirect_uri(text: &str) -> bool {
    redirect::RedirectUri::parse(text).is_some()
}

impl Surface {
    async fn begin(&self, query: Option<&str>) -> Result<Response, Stop> {
        let query = query.unwrap_or_default();
        if query.len() > QUERY_BYTES_MAX {
            let advice = "the request is longer than is read here";
            return Err(Refusal::new(Kind::InvalidRequest, "query_too_long", advice).into());
        }
        let form = Form::of_query(query)?;
        let _turn = self.turn()?;
        let now = self.broker.now().wall;
        let client = self.client(&form).await?;
        let asked = Asked::read(&form, client, &self.issuer, now)?;
        let secrets = Secrets::generate().ok_or_else(no_randomness)?;
        let (id, cookie) = (secrets.id.clone(), Browser::set(&self.issuer, &secrets));
        let agent = asked.client.agent.clone();
        lock(&self.broker.flows).begin(asked, secrets, self.broker.now().wall)?;
        tracing::info!(%agent, "a client asks for a person's authorization");
        let mut response = see_other(&format!("/oauth/login/{id}"));
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    }

    fn browser(&self, request: &Request, id: &str) -> Option<Browser> {
        Browser::of(request.headers(), &self.issuer, id)
    }

    /// The answer to what does not go on: to the client where its redirect URI is known to be its
    /// own, and to the person otherwise.
    fn stopped(&self, stop: &Stop) -> Response {
        tracing::info!(code = stop.refusal.code, "an authorization is refused");
        match &stop.back {
            None => page::refused(&stop.refusal),
            Some(back) => {
                let description = stop.refusal.description();
                let said = [
                    ("error", stop.refusal.kind.name()),
                    ("error_description", description.as_str()),
                ];
                see_other(&back.answer(&said, self.issuer.as_str()))
            }
        }
    }
}

/// Sends a browser on with a GET.
fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else { return page::gone() };
    let mut response = StatusCode::SEE_OTHER.into_response();
    page::protect(response.headers_mut());
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn no_randomness() -> Refusal {
    Refusal::new(Kind::ServerError, "no_randomness", "the operator can see why in the log")
}
