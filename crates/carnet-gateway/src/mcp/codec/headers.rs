//! The headers of a message against its body. Decisions are made on the body; a header is only
//! ever checked, so that nobody behind us who does look at it can see another request.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::json::is_safe;
use super::message::Message;
use super::method::named_by;
use super::mirror::{Mirrored, MirroredType};
use super::refusal::Refusal;
use super::revision::Revision;

const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const VERSION_IN_META: &str = "io.modelcontextprotocol/protocolVersion";
const SENTINEL_START: &str = "=?base64?";
const SENTINEL_END: &str = "?=";
/// What the older revisions have a server assume where nothing names a version. Not carried.
const ASSUMED: &str = "2025-03-26";

const TWICE: &str = "is there twice: send it once";
const MISSING: &str = "is missing: this version of the protocol requires it";
const OTHER: &str = "does not match the body";
const BYTES: &str = "has characters a header may not have";
const ENCODING: &str = "is not valid base64 of UTF-8 text";
const SOURCELESS: &str = "has nothing in the body to match";

/// The headers that were found to agree with the body. Only these go on to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified(Vec<(HeaderName, HeaderValue)>);

impl Verified {
    /// The headers of a request of our own, which names no item.
    pub(crate) fn own(revision: Revision, method: &'static str) -> Self {
        let mut own = vec![(VERSION, HeaderValue::from_static(revision.as_str()))];
        if revision.mirrors_headers() {
            own.push((METHOD, HeaderValue::from_static(method)));
        }
        Self(own)
    }

    /// Each header and its value, as the client wrote it.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

/// The revision of a client's message. `negotiated` is what its session agreed on, if it has one.
///
/// A header that is absent or older does not make a message of a newer revision an old one: where
/// the body names a version the header must name the same, and where a session agreed on one the
/// header must not name another.
pub fn revision_of(
    message: &Message,
    headers: &HeaderMap,
    negotiated: Option<Revision>,
) -> Result<Revision, Refusal> {
    let header = single(headers, &VERSION)?;
    if let Message::Request(request) = message
        && request.method == "initialize"
    {
        return initialize_revision(&request.params, header);
    }
    let revision = match (header, declared(message)?) {
        (Some(header), Some(body)) if header != body => {
            return Err(Refusal::header(VERSION.as_str(), OTHER));
        }
        (None, Some(_)) => return Err(Refusal::header(VERSION.as_str(), MISSING)),
        (Some(header), body) => {
            let revision = parse(header)?;
            let silent = body.is_none() && matches!(message, Message::Request(_));
            if revision.is_stateless() && silent {
                return Err(version_missing(revision));
            }
            revision
        }
        (None, None) => return negotiated.ok_or_else(|| Refusal::version(ASSUMED)),
    };
    match negotiated {
        Some(agreed) if !revision.is_stateless() && agreed != revision => {
            Err(Refusal::header(VERSION.as_str(), "is not the version the session agreed on"))
        }
        _ => Ok(revision),
    }
}

/// Checks every header that repeats a part of the body. `mirrored` are the annotations of the
/// pinned definition of the tool that is called, and empty for anything else.
///
/// Revisions that do not require the headers may still be sent them; then they must be true.
pub fn verify(
    revision: Revision,
    message: &Message,
    headers: &HeaderMap,
    mirrored: &[Mirrored],
) -> Result<Verified, Refusal> {
    let mut verified = Verified::default();
    if single(headers, &VERSION)?.is_some() {
        verified.push(headers, &VERSION);
    }
    let (method, params, required) = match message {
        Message::Request(request) => (&request.method, &request.params, revision.mirrors_headers()),
        Message::Notification(notification) => (&notification.method, &notification.params, false),
        Message::Response(_) if revision.asks_by_result() => {
            return Err(Refusal::Request("a client answers nothing in this version"));
        }
        Message::Response(_) => return Ok(verified),
    };
    match single(headers, &METHOD)? {
        Some(header) if header != method => return Err(Refusal::header(METHOD.as_str(), OTHER)),
        None if required => return Err(Refusal::header(METHOD.as_str(), MISSING)),
        _ => verified.push(headers, &METHOD),
    }
    verify_name(revision, method, params, headers, required)?;
    verified.push(headers, &NAME);
    if required && method == "tools/call" {
        let arguments = params.get("arguments").unwrap_or(&Value::Null);
        for parameter in mirrored {
            verify_parameter(parameter, arguments, headers)?;
            verified.push(headers, &parameter.header);
        }
    }
    Ok(verified)
}

impl Verified {
    fn push(&mut self, headers: &HeaderMap, name: &HeaderName) {
        if let Some(value) = headers.get(name) {
            self.0.push((name.clone(), value.clone()));
        }
    }
}

fn parse(text: &str) -> Result<Revision, Refusal> {
    text.parse().map_err(|_| Refusal::version(text))
}

fn version_missing(revision: Revision) -> Refusal {
    let at = "/params/_meta/io.modelcontextprotocol~1protocolVersion";
    Refusal::params(revision, at, "is missing: name the version of the protocol")
}

fn initialize_revision(
    params: &Map<String, Value>,
    header: Option<&str>,
) -> Result<Revision, Refusal> {
    let Some(body) = params.get("protocolVersion").and_then(Value::as_str) else {
        let meant = header.and_then(|header| parse(header).ok());
        if let Some(revision) = meant.filter(|meant| meant.is_stateless()) {
            // It has no such method, so that nothing can be wrong with its parameters.
            return Err(Refusal::Method { revision });
        }
        let rule = "is not a text: name the version of the protocol";
        return Err(Refusal::params(Revision::V2025_11_25, "/params/protocolVersion", rule));
    };
    if header.is_some_and(|header| header != body) {
        return Err(Refusal::header(VERSION.as_str(), OTHER));
    }
    let revision = parse(body)?;
    if revision.is_stateless() {
        return Err(Refusal::Method { revision });
    }
    Ok(revision)
}

/// The version the body declares.
fn declared(message: &Message) -> Result<Option<&str>, Refusal> {
    let params = match message {
        Message::Request(request) => &request.params,
        Message::Notification(notification) => &notification.params,
        Message::Response(_) => return Ok(None),
    };
    match params.get("_meta").and_then(|meta| meta.get(VERSION_IN_META)) {
        None => Ok(None),
        Some(Value::String(version)) => Ok(Some(version)),
        Some(_) => Err(version_missing(Revision::V2026_07_28)),
    }
}

fn verify_name(
    revision: Revision,
    method: &str,
    params: &Map<String, Value>,
    headers: &HeaderMap,
    required: bool,
) -> Result<(), Refusal> {
    let header = single(headers, &NAME)?.map(|raw| decode(raw, &NAME)).transpose()?;
    let body = match named_by(revision, method) {
        None => None,
        Some(member) => match params.get(member) {
            Some(Value::String(name)) => Some(name),
            _ => {
                let at = format!("/params/{member}");
                return Err(Refusal::params(revision, at, "is not a text"));
            }
        },
    };
    match (header, body) {
        (Some(header), Some(body)) if header == body.as_str() => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::header(NAME.as_str(), OTHER)),
        (Some(_), None) => Err(Refusal::header(NAME.as_str(), SOURCELESS)),
        (None, Some(_)) if required => Err(Refusal::header(NAME.as_str(), MISSING)),
        (None, _) => Ok(()),
    }
}

fn verify_parameter(
    parameter: &Mirrored,
    arguments: &Value,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let name = &parameter.header;
    let body = parameter.path.iter().try_fold(arguments, |value, member| value.get(member));
    let header = single(headers, name)?.map(|raw| decode(raw, name)).transpose()?;
    match (header, body) {
        (None, None | Some(Value::Null)) => Ok(()),
        (Some(_), None | Some(Value::Null)) => Err(Refusal::header(name.as_str(), SOURCELESS)),
        (None, Some(_)) => Err(Refusal::header(name.as_str(), MISSING)),
        (Some(header), Some(body)) if agrees(parameter.kind, &header, body) => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::header(name.as_str(), OTHER)),
    }
}

fn agrees(kind: MirroredType, header: &str, body: &Value) -> bool {
    match (kind, body) {
        (MirroredType::Text, Value::String(text)) => header == text,
        (MirroredType::Boolean, Value::Bool(true)) => header == "true",
        (MirroredType::Boolean, Value::Bool(false)) => header == "false",
        (MirroredType::Integer, Value::Number(number)) => {
            let body = number.as_f64().filter(|float| float.fract() == 0.0 && is_safe(number));
            body.is_some() && integer(header) == body
        }
        _ => false,
    }
}

/// A decimal integer, with nothing but zeros behind its point.
fn integer(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = (1..=16).contains(&whole.len())
        && whole.bytes().all(|b| b.is_ascii_digit())
        && (1..=16).contains(&fraction.len())
        && fraction.bytes().all(|b| b == b'0');
    if plain { text.parse().ok() } else { None }
}

/// The one value of a header, as text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::header(name.as_str(), TWICE));
    }
    value.to_str().map(Some).map_err(|_| Refusal::header(name.as_str(), BYTES))
}

/// A value as the body would have it. Decoded once: an encoded value that looks encoded is text.
fn decode<'a>(raw: &'a str, name: &HeaderName) -> Result<Cow<'a, str>, Refusal> {
    if !(raw.starts_with(SENTINEL_START) && raw.ends_with(SENTINEL_END)) {
        return Ok(Cow::Borrowed(raw));
    }
    raw.strip_prefix(SENTINEL_START)
        .and_then(|rest| rest.strip_suffix(SENTINEL_END))
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Cow::Owned)
        .ok_or_else(|| Refusal::header(name.as_str(), ENCODING))
}
