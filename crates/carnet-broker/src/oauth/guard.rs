//! What every request must be before anything is read of it: meant for us, and not by a page of somebody
//! else.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;

/// Refuses a request whose authority is not the issuer's, or that a browser sent. Together they
/// stop a page that made its own name resolve to us (DNS rebinding).
pub(crate) async fn check(
    State(surface): State<Arc<Surface>>,
    request: Request,
    next: Next,
) -> Response {
    match judge(&surface, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn judge(surface: &Surface, request: &Request) -> Result<(), Refusal> {
    let (uri, headers) = (request.uri(), request.headers());
    let malformed = Refusal::new(
        Kind::InvalidRequest,
        "host_malformed",
        "send exactly one Host, and the same as the request's own authority",
    );
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().map_err(|_| malformed.clone())?),
        (Some(_), Some(_)) => return Err(malformed),
    };
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    let named: Vec<&str> = [host, authority].into_iter().flatten().collect();
    if named.is_empty() {
        return Err(malformed);
    }
    if !named.iter().all(|name| surface.issuer.is_authority(name)) {
        let advice = "use the address of the issuer; another name for this host is not accepted";
        let refusal = Refusal::new(Kind::InvalidRequest, "host_unknown", advice);
        return Err(refusal.with_status(StatusCode::MISDIRECTED_REQUEST));
    }
    if headers.contains_key(header::ORIGIN) && !is_own_form(surface, request) {
        let advice = "pages of others have no business here; send no Origin";
        let refusal = Refusal::new(Kind::InvalidRequest, "origin_refused", advice);
        return Err(refusal.with_status(StatusCode::FORBIDDEN));
    }
    Ok(())
}

/// Whether it is the answer of a person, sent by our own page.
fn is_own_form(surface: &Surface, request: &Request) -> bool {
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let is_ours = match (origins.next(), origins.next()) {
        (Some(origin), None) => origin.as_bytes() == surface.issuer.as_str().as_bytes(),
        _ => false,
    };
    is_ours
        && request.method() == Method::POST
        && request.uri().path().starts_with("/oauth/consent/")
}
