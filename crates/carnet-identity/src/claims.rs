//! Typed reading of a token's claims.

use carnet_core::Timestamp;
use serde_json::{Map, Value};

use crate::error::TokenError;
use crate::json;

/// The last second of the year 9999: no honest claim lies beyond it.
const TIME_S_MAX: i64 = 253_402_300_799;
/// The longest text a claim may have where nothing shorter is said.
const TEXT_BYTES_MAX: usize = 2048;

const MISSING: &str = "is missing";
const NOT_TEXT: &str = "is not a text of acceptable length";
const NOT_TIME: &str = "is not a whole number of seconds between 1970 and 9999";

/// The claims of a token.
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    pub(crate) fn read(payload: &[u8]) -> Result<Self, TokenError> {
        let malformed = |problem| TokenError::Malformed { part: "payload", problem };
        json::object(payload).map(Self).map_err(malformed)
    }

    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text that must be there.
    pub(crate) fn text(&self, name: &'static str) -> Result<&str, TokenError> {
        self.optional_text(name)?.ok_or(TokenError::Claim { name, problem: MISSING })
    }

    /// A text that may be absent, but not empty, over-long or of another type.
    pub(crate) fn optional_text(&self, name: &'static str) -> Result<Option<&str>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if (1..=TEXT_BYTES_MAX).contains(&text.len()) => {
                Ok(Some(text))
            }
            Some(_) => Err(TokenError::Claim { name, problem: NOT_TEXT }),
        }
    }

    /// A time that must be there.
    pub(crate) fn time(&self, name: &'static str) -> Result<Timestamp, TokenError> {
        self.optional_time(name)?.ok_or(TokenError::Claim { name, problem: MISSING })
    }

    /// A time that may be absent: a whole number of seconds, neither a fraction nor a text.
    pub(crate) fn optional_time(
        &self,
        name: &'static str,
    ) -> Result<Option<Timestamp>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(s) if (0..=TIME_S_MAX).contains(&s) => Ok(Some(Timestamp::from_s(s))),
                _ => Err(TokenError::Claim { name, problem: NOT_TIME }),
            },
        }
    }
}

/// Whether `text` is 1 to `bytes_max` printable ASCII characters: a name with look-alikes in it is
/// not a name.
pub(crate) fn is_plain(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}
