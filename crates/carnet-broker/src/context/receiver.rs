//! `POST /ssf/events`: security events as they are pushed (RFC 8935).
//!
//! A transmitter learns that its event was taken, or what is wrong with the event; never whether
//! anybody here is whom it speaks of.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use carnet_core::Monotonic;
use carnet_identity::{
    ExpectedForeign, ForeignClaims, ForeignKind, TokenError, claimed_issuer, verify_foreign,
};
use carnet_ledger::{Entry, Kind};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, json};
use tokio::sync::Semaphore;

use crate::broker::Broker;
use crate::context::hear::{HEARD_MAX, Taken};
use crate::context::signal;
use crate::context::transmitter::{KnownKeys, Transmitter};
use crate::fetch::Fetcher;

/// The one media type.
const MEDIA_TYPE: &str = "application/secevent+jwt";
/// The longest event.
const EVENT_BYTES_MAX: usize = 16 * 1024;
/// The longest `jti`.
const JTI_BYTES_MAX: usize = 256;
/// How long an event may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// The most events worked on at once.
const EVENTS_MAX: usize = 32;
/// The most verified events of one transmitter in a second.
const EVENTS_PER_S_MAX: u32 = 64;
/// How often refusals are recorded.
const TOLD_EVERY_US: u64 = 1_000_000;
const SECOND_US: u64 = 1_000_000;

struct Receiver {
    broker: Arc<Broker>,
    fetcher: Fetcher,
    known: Vec<Known>,
    turns: Semaphore,
    refused: Mutex<Counted>,
}

struct Known {
    transmitter: Transmitter,
    keys: KnownKeys,
    taken: Mutex<Counted>,
}

/// How many since when.
#[derive(Default)]
struct Counted {
    at: Option<Monotonic>,
    count: u32,
}

/// Why an event is not taken: the code of RFC 8935, and a sentence.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    status: StatusCode,
    err: &'static str,
    description: &'static str,
}

/// The route events are pushed to, to be served on the agents' listener.
pub fn router(broker: Arc<Broker>, fetcher: Fetcher, transmitters: Vec<Transmitter>) -> Router {
    let known = transmitters.into_iter().map(|transmitter| Known {
        keys: KnownKeys::of(transmitter.keys.clone()),
        taken: Mutex::default(),
        transmitter,
    });
    let receiver = Receiver {
        broker,
        fetcher,
        known: known.collect(),
        turns: Semaphore::new(EVENTS_MAX),
        refused: Mutex::default(),
    };
    Router::new().route("/ssf/events", post(receive)).with_state(Arc::new(receiver))
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match receiver.take(&parts.headers, body).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => {
            receiver.record(refusal);
            refusal.into_response()
        }
    }
}

impl Receiver {
    async fn take(&self, headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
        check_headers(headers)?;
        let event = arrived(body).await?;
        let _turn = self.turns.try_acquire().map_err(|_| busy("too many events at once"))?;
        let issuer = claimed_issuer(&event, ForeignKind::SecurityEvent).map_err(of_token)?;
        let known = self.known.iter().find(|known| known.transmitter.issuer == issuer);
        let known =
            known.ok_or(refused("invalid_issuer", "events of this issuer are not taken"))?;
        let claims = self.verify(known, &event).await?;
        let jti = claims.text("jti").filter(|jti| jti.len() <= JTI_BYTES_MAX);
        let jti = jti.ok_or(refused("invalid_request", "jti is missing or too long"))?;
        let signal = signal::read(&claims).map_err(|why| refused("invalid_request", why))?;
        // One that comes again was taken: its transmitter did not hear so. It takes no other's room.
        if self.broker.has_heard(&known.transmitter, jti) {
            return Ok(());
        }
        if !known.taken.lock().unwrap_or_else(PoisonError::into_inner).has_room(self.mono()) {
            return Err(too_many());
        }
        let share = HEARD_MAX / self.known.len().max(1);
        match self.broker.hear(&known.transmitter, jti, &signal, share).await {
            Ok(Taken::Now | Taken::Before) => Ok(()),
            Ok(Taken::Full) => Err(busy("too many events are remembered; come again later")),
            Err(error) => {
                tracing::error!(%error, "a security event could not be taken");
                Err(busy("the event could not be taken; come again"))
            }
        }
    }

    async fn verify(&self, known: &Known, event: &str) -> Result<ForeignClaims, Refusal> {
        let mut anew = false;
        loop {
            let keys = known.keys.get(&self.fetcher, anew, self.mono()).await;
            let keys = keys.ok_or(busy("the keys of the issuer cannot be read now"))?;
            let expected = ExpectedForeign {
                kind: ForeignKind::SecurityEvent,
                issuer: &known.transmitter.issuer,
                audience: &known.transmitter.audience,
            };
            match verify_foreign(event, &keys, &expected, self.broker.now().wall) {
                // Its keys may have changed.
                Err(TokenError::KeyUnknown | TokenError::KeyMissing) if !anew => anew = true,
                verified => return verified.map_err(of_token),
            }
        }
    }

    fn mono(&self) -> Monotonic {
        self.broker.now().mono
    }

    /// Records that an event was refused. However many there are, it is one record a second.
    fn record(&self, refusal: Refusal) {
        let now = self.broker.now();
        let due = self.refused.lock().unwrap_or_else(PoisonError::into_inner).due(now.mono);
        let Some(count) = due else { return };
        let mut header = Map::new();
        header.insert("transition".into(), json!("event_refused"));
        header.insert("err".into(), json!(refusal.err));
        header.insert("description".into(), json!(refusal.description));
        header.insert("count".into(), json!(count));
        let entry = Entry {
            kind: Kind::Node,
            id: "ssf".into(),
            at: now.wall,
            header,
            sealed: Vec::new(),
            subject: "nobody".into(),
            position: None,
            narrows: false,
        };
        let append = self.broker.ledger().append_behind(&entry);
        tokio::spawn(async move {
            if let Err(error) = append.await {
                tracing::error!(%error, "a refusal could not be recorded");
            }
        });
    }
}

impl Counted {
    /// Whether one more fits in this second.
    fn has_room(&mut self, now: Monotonic) -> bool {
        if self.at.is_none_or(|at| now.us() >= at.us().saturating_add(SECOND_US)) {
            *self = Self { at: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= EVENTS_PER_S_MAX
    }

    /// How many the record made now stands for, this one among them; none where one was made a
    /// moment ago.
    fn due(&mut self, now: Monotonic) -> Option<u32> {
        self.count = self.count.saturating_add(1);
        if self.at.is_some_and(|at| now.us() < at.us().saturating_add(TOLD_EVERY_US)) {
            return None;
        }
        let count = self.count;
        *self = Self { at: Some(now), count: 0 };
        Some(count)
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(header::ORIGIN) {
        return Err(refused("access_denied", "browsers have no business here; send no Origin"));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    match kind.is_some_and(|kind| kind.eq_ignore_ascii_case(MEDIA_TYPE)) {
        true => Ok(()),
        false => Err(refused("invalid_request", "send application/secevent+jwt")),
    }
}

/// The event, whole and no longer than is read.
async fn arrived(body: Body) -> Result<String, Refusal> {
    let limited = Limited::new(body, EVENT_BYTES_MAX).collect();
    let arrived = tokio::time::timeout(ARRIVAL, limited).await;
    let arrived = arrived.map_err(|_| refused("invalid_request", "the event took too long"))?;
    let body = arrived.map_err(|error| match error.is::<LengthLimitError>() {
        true => refused("invalid_request", "the event is longer than is read here"),
        false => refused("invalid_request", "the event did not arrive whole"),
    })?;
    let text = String::from_utf8(body.to_bytes().to_vec());
    text.map_err(|_| refused("invalid_request", "the event is no text"))
}

const fn refused(err: &'static str, description: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, err, description }
}

/// What is not the event's fault: it is to come again.
const fn busy(description: &'static str) -> Refusal {
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, err: "temporarily_unavailable", description }
}

const fn too_many() -> Refusal {
    let description = "too many events in this second; come again";
    Refusal { status: StatusCode::TOO_MANY_REQUESTS, err: "access_denied", description }
}

/// What is wrong with the token, in the words of RFC 8935 section 2.4.
fn of_token(error: TokenError) -> Refusal {
    match error {
        TokenError::WrongIssuer => refused("invalid_issuer", error.code()),
        TokenError::WrongAudience => refused("invalid_audience", error.code()),
        TokenError::KeyUnknown
        | TokenError::KeyMissing
        | TokenError::KeyUseRefused
        | TokenError::AlgorithmRefused => refused("invalid_key", error.code()),
        TokenError::Signature => refused("authentication_failed", error.code()),
        _ => refused("invalid_request", error.code()),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "err": self.err, "description": self.description }).to_string();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        let comes_again =
            matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        if comes_again {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_without_end_are_one_record_a_second() {
        let mut refused = Counted::default();
        let at = |us| Monotonic::from_us(7 + us);
        assert_eq!(refused.due(at(0)), Some(1));
        assert_eq!(refused.due(at(1)), None);
        assert_eq!(refused.due(at(TOLD_EVERY_US - 1)), None);
        assert_eq!(refused.due(at(TOLD_EVERY_US)), Some(3));
    }

    #[test]
    fn so_many_events_of_one_transmitter_are_taken_in_a_second() {
        let mut taken = Counted::default();
        let at = Monotonic::from_us(7);
        assert!((0..EVENTS_PER_S_MAX).all(|_| taken.has_room(at)));
        assert!(!taken.has_room(at));
        assert!(taken.has_room(Monotonic::from_us(7 + SECOND_US)));
    }
}
