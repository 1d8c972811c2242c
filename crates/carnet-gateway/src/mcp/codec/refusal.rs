//! Why a message is refused before anything is decided.

use serde_json::{Value, json};

use super::json::{JsonError, quoted};
use super::revision::Revision;

/// A refusal of the codec. Its message names what is wrong and where, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not one JSON value within bounds.
    #[error("{0}")]
    Parse(#[from] JsonError),
    /// Not a JSON-RPC 2.0 message.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    Request(&'static str),
    /// A member that is not one of a JSON-RPC 2.0 message.
    #[error("not a JSON-RPC 2.0 message: `{name}` is not one of its members: leave it out")]
    Member {
        /// The name, cut short and escaped.
        name: String,
    },
    /// No such method in this revision, in this direction, of this shape.
    #[error("no such method in {revision}")]
    Method {
        /// The revision it was looked up in.
        revision: Revision,
    },
    /// A method that is known and not carried.
    #[error("the method is not carried: {because}")]
    NotCarried {
        /// The revision it was looked up in.
        revision: Revision,
        /// Why.
        because: &'static str,
    },
    /// Parameters that do not fit the method.
    #[error("`{at}` {rule}")]
    Params {
        /// The revision of the message.
        revision: Revision,
        /// A JSON pointer into the message.
        at: String,
        /// What is wrong there and what to send.
        rule: &'static str,
    },
    /// A header that is missing, there twice, malformed, or says other than the body.
    #[error("the header `{header}` {rule}")]
    Header {
        /// The header's name.
        header: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// A revision that is not carried.
    #[error("this version of the protocol is not supported: use one of those listed")]
    Version {
        /// What was asked for, cut short and escaped.
        requested: String,
    },
}

impl Refusal {
    pub(crate) fn params(revision: Revision, at: impl Into<String>, rule: &'static str) -> Self {
        Self::Params { revision, at: at.into(), rule }
    }

    pub(crate) fn member(name: &str) -> Self {
        Self::Member { name: quoted(name) }
    }

    pub(crate) fn header(header: impl Into<String>, rule: &'static str) -> Self {
        Self::Header { header: header.into(), rule }
    }

    pub(crate) fn version(requested: &str) -> Self {
        Self::Version { requested: quoted(requested) }
    }

    /// The JSON-RPC error code.
    pub const fn code(&self) -> i64 {
        match self {
            Self::Parse(_) => -32700,
            Self::Request(_) | Self::Member { .. } => -32600,
            Self::Method { .. } | Self::NotCarried { .. } => -32601,
            Self::Params { .. } => -32602,
            Self::Header { .. } => -32020,
            Self::Version { .. } => -32022,
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Parse(_)
            | Self::Request(_)
            | Self::Member { .. }
            | Self::Header { .. }
            | Self::Version { .. } => 400,
            Self::Method { revision } | Self::NotCarried { revision, .. } => {
                revision.method_unknown_status()
            }
            Self::Params { revision, .. } => revision.params_invalid_status(),
        }
    }

    /// The reason code, as it stands in the record.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Parse(_) => "message_unreadable",
            Self::Request(_) | Self::Member { .. } => "message_malformed",
            Self::Method { .. } => "method_unknown",
            Self::NotCarried { .. } => "method_not_carried",
            Self::Params { .. } => "params_invalid",
            Self::Header { .. } => "header_mismatch",
            Self::Version { .. } => "version_unsupported",
        }
    }

    /// The `data` member of the JSON-RPC error, where the protocol gives it one.
    pub fn data(&self) -> Option<Value> {
        match self {
            Self::Version { requested } => {
                let supported = Revision::ALL.map(Revision::as_str);
                Some(json!({ "supported": supported, "requested": requested }))
            }
            _ => None,
        }
    }
}
