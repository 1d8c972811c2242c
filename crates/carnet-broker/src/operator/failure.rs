//! One mapping from errors to answers.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::error::BrokerError;

/// What an operator is told of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub code: String,
    /// What is wrong, where, and what to do.
    pub message: String,
    #[serde(skip, default = "bad_request")]
    status: u16,
}

fn bad_request() -> u16 {
    400
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), status: status.as_u16() }
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        let status = match &error {
            BrokerError::Missing { .. } => StatusCode::NOT_FOUND,
            BrokerError::Invalid { .. } | BrokerError::Policy(_) | BrokerError::Digest(_) => {
                StatusCode::BAD_REQUEST
            }
            BrokerError::Refused { .. } | BrokerError::NotAPart(_) | BrokerError::Approver(_) => {
                StatusCode::FORBIDDEN
            }
            BrokerError::Transition(_) | BrokerError::Contended { .. } => StatusCode::CONFLICT,
            BrokerError::Store(_) | BrokerError::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
            BrokerError::Corrupt { .. } | BrokerError::Key(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(self)).into_response()
    }
}

pub(crate) async fn unknown_route() -> Failure {
    let message =
        "there is no such operation: the command line and Carnet are of different versions";
    Failure::new(StatusCode::NOT_FOUND, "unknown_operation", message)
}
