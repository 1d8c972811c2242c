//! Response bodies: a few bytes, or a stream of events.

use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The body of every response of the gateway.
pub type Body = BoxBody<Bytes, Infallible>;

/// How many events may wait for a slow client.
const EVENTS_WAITING_MAX: usize = 64;

/// A body of `bytes`.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A JSON response.
pub(crate) fn json(status: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An HTTP error that is none of the protocol's: what is wrong and what to do, as text. Were it
/// JSON, clients would take it for the answer and not see by the status that a session is gone.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{message}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// An event stream, and where its events go in. Once `revoked`, it ends at once: events that wait
/// for a slow client are not released any more.
pub(crate) fn events(revoked: CancellationToken) -> (mpsc::Sender<Bytes>, Response<Body>) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(EVENTS_WAITING_MAX);
    let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    let stream = stream.take_until(revoked.cancelled_owned());
    let frames = stream.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (sender, response)
}
