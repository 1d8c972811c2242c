//! A form, read strictly: bounded, UTF-8, no parameter twice.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::oauth::refusal::{Kind, Refusal};

/// The most parameters.
const PARAMETERS_MAX: usize = 32;
/// How long the whole form may take to arrive.
const ARRIVAL_S_MAX: u64 = 10;
/// The one media type.
const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";
/// The one parameter that may be sent more than once (RFC 8707), to be refused with its own error.
const RESOURCE: &str = "resource";

/// The parameters of a request. It holds credentials, so it is never shown.
pub(crate) struct Form {
    parameters: Vec<(String, String)>,
    bytes: usize,
}

impl Form {
    /// Reads the body as a form of at most `bytes_max`.
    pub(crate) async fn read(
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
    ) -> Result<Self, Refusal> {
        check_media_type(headers)?;
        let limited = Limited::new(body, bytes_max).collect();
        let arrived = tokio::time::timeout(Duration::from_secs(ARRIVAL_S_MAX), limited).await;
        let arrived = arrived.map_err(|_| {
            let advice = "the form took too long to arrive";
            let refusal = Refusal::new(Kind::InvalidRequest, "form_late", advice);
            refusal.with_status(StatusCode::REQUEST_TIMEOUT)
        })?;
        let body = arrived.map_err(|error| match error.is::<LengthLimitError>() {
            true => too_large(),
            false => malformed(),
        })?;
        Self::parse(&body.to_bytes())
    }

    /// Refuses what is longer than a form of its kind may be.
    pub(crate) fn within(self, bytes_max: usize) -> Result<Self, Refusal> {
        if self.bytes > bytes_max { Err(too_large()) } else { Ok(self) }
    }

    /// Reads a query, as strictly as a body.
    pub(crate) fn of_query(query: &str) -> Result<Self, Refusal> {
        Self::parse(query.as_bytes())
    }

    fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut parameters = Vec::new();
        if bytes.is_empty() {
            return Ok(Self { parameters, bytes: 0 });
        }
        for pair in bytes.split(|byte| *byte == b'&') {
            if parameters.len() >= PARAMETERS_MAX || pair.is_empty() {
                return Err(malformed());
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            if name != RESOURCE && parameters.iter().any(|(known, _)| *known == name) {
                return Err(Refusal::new(
                    Kind::InvalidRequest,
                    "parameter_twice",
                    "a parameter is there more than once",
                ));
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters, bytes: bytes.len() })
    }

    /// The parameter `name`; one without a value counts as absent (RFC 6749 section 3.2).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Takes the parameter `name` out of the form.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.parameters.iter().position(|(known, _)| known == name)?;
        Some(self.parameters.remove(at).1)
    }

    /// The resources named, as sent.
    pub(crate) fn resources(&self) -> Vec<&str> {
        let named = self.parameters.iter().filter(|(name, _)| name == RESOURCE);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

fn too_large() -> Refusal {
    let advice = "the form is longer than is read here";
    let refusal = Refusal::new(Kind::InvalidRequest, "form_too_large", advice);
    refusal.with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

fn malformed() -> Refusal {
    Refusal::new(
        Kind::InvalidRequest,
        "form_malformed",
        "the body is not a form of at most 32 parameters in UTF-8",
    )
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let sent = match (types.next(), types.next()) {
        (Some(sent), None) => sent.to_str().unwrap_or_default(),
        _ => "",
    };
    let mut parts = sent.split(';').map(str::trim);
    let is_form = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(MEDIA_TYPE));
    let plain = parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8"));
    if is_form && plain && !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(());
    }
    let refusal = Refusal::new(
        Kind::InvalidRequest,
        "media_type",
        "send application/x-www-form-urlencoded without any content encoding",
    );
    Err(refusal.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// The text of one encoded name or value.
fn decode(encoded: &[u8]) -> Result<String, Refusal> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match (bytes.next().and_then(digit), bytes.next().and_then(digit)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(malformed()),
            },
            0x21..=0x7e => byte,
            _ => return Err(malformed()),
        });
    }
    String::from_utf8(decoded).map_err(|_| malformed())
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_reads_as_its_sender_meant_it() {
        let form = Form::parse(b"a=1%202+3&b=&c&resource=x&resource=y&d=%C3%A9%3D").unwrap();
        assert_eq!(form.get("a"), Some("1 2 3"));
        assert_eq!((form.get("b"), form.get("c"), form.get("e")), (None, None, None));
        assert_eq!(form.resources(), ["x", "y"]);
        assert_eq!(form.get("d"), Some("é="));
        assert!(Form::parse(b"").is_ok());
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let many = vec!["a=1"; 40].join("&");
        for bytes in [
            "a=1&a=2".as_bytes(),
            b"a=1&%61=2",
            b"a&a",
            b"a=%",
            b"a=%4",
            b"a=%zz",
            b"a=%ff",
            b"a=\xc3\xa9",
            b"a=1&&b=2",
            b"a=1&",
            b"a=\n",
            b"a=b c",
            many.as_bytes(),
        ] {
            assert!(Form::parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
