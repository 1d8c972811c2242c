//! What the client is told where Carnet could not be asked.

use bytes::Bytes;
use carnet_gateway::mcp::codec::{DENIED_CODE, Id, Outcome, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::agent::mcp::SendError;
use crate::agent::token::TokenError;

/// The JSON-RPC code of a request that never reached a decision. Outside the reserved range.
pub(crate) const UNDECIDED_CODE: i64 = 40_302;

/// Why a request has no answer of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The JSON-RPC code.
    pub(crate) code: i64,
    /// The stable code.
    pub(crate) reason: String,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Failure {
    /// A failure of this side.
    pub(crate) fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { code: UNDECIDED_CODE, reason: reason.to_owned(), message: message.into() }
    }

    /// A request that Carnet turned away with `status` and without a word.
    pub(crate) fn of_status(status: StatusCode, code: &str) -> Self {
        let message = match code {
            "" => format!("Carnet answered with status {status}"),
            code => format!("Carnet answered with status {status}: {code}"),
        };
        Self::new("turned_away", message)
    }

    /// Parameters that cannot be what was meant.
    pub(crate) fn params(message: &str) -> Self {
        Self { code: -32602, reason: "params_invalid".to_owned(), message: message.to_owned() }
    }

    /// The error that `response` is, or that it is no answer to what was asked.
    pub(crate) fn of_response(response: &Response) -> Self {
        match &response.outcome {
            Outcome::Failure(error) => Self {
                code: error.code,
                reason: told(response)
                    .map_or_else(|| "server_error".to_owned(), |told| told.reason),
                message: error.message.clone(),
            },
            Outcome::Result(_) => {
                Self::new("answer_unreadable", "the answer is not what was asked")
            }
        }
    }

    /// The answer to the request `id`.
    pub(crate) fn answer(&self, id: &Id) -> Bytes {
        let data = json!({ "reason": self.reason });
        let error = json!({ "code": self.code, "message": self.message, "data": data });
        Bytes::from(json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
    }
}

/// What an error of the gateway says for machines.
#[derive(Debug, Deserialize)]
pub(crate) struct Told {
    /// The reason code.
    pub(crate) reason: String,
    /// Where the operation travels, where that is elsewhere.
    pub(crate) address: Option<String>,
}

/// What the gateway says in an error of its own.
pub(crate) fn told(response: &Response) -> Option<Told> {
    #[derive(Deserialize)]
    struct Denied {
        error: Facts,
    }
    #[derive(Deserialize)]
    struct Facts {
        data: Told,
    }
    let denied: Denied = serde_json::from_slice(response.bytes()).ok()?;
    Some(denied.error.data)
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let message = error.to_string();
        match error {
            SendError::Token(TokenError::Refused(refusal)) => {
                Self { code: DENIED_CODE, reason: refusal.code, message }
            }
            SendError::Token(TokenError::Identity(_)) => Self::new("no_identity", message),
            SendError::Token(TokenError::Http(_)) | SendError::Http(_) => {
                Self::new("carnet_unreachable", message)
            }
            SendError::Token(_) | SendError::Garbled(_) => Self::new("answer_unreadable", message),
        }
    }
}
