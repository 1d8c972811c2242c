//! Why a request was refused, as OAuth says it (RFC 6749 section 5.2). Every word that leaves is
//! fixed here or in the core: nothing of a request, a token or the state can be in it. What the
//! detail of a delegation tells is of the agent's own intent and its own task.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carnet_core::Reason;
use carnet_identity::TokenError;
use serde_json::json;

use crate::error::BrokerError;

/// How long to wait before asking again for what a person must say yes to, in seconds.
const PENDING_RETRY: HeaderValue = HeaderValue::from_static("5");

/// The OAuth error codes used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    UnsupportedTokenType,
    InvalidScope,
    InvalidTarget,
    InvalidDetails,
    InvalidProof,
    NonceNeeded,
    Pending,
    AccessDenied,
    Unavailable,
    ServerError,
}

/// A refusal: an OAuth error, a stable code, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    pub(crate) code: &'static str,
    advice: &'static str,
    status: StatusCode,
    detail: Option<String>,
}

/// Where the request named its task: which error says that there is no such task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedIn {
    Details,
    Scope,
    /// In the subject token of an exchange.
    Subject,
    Nothing,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDetails => "invalid_authorization_details",
            Self::InvalidProof => "invalid_dpop_proof",
            Self::NonceNeeded => "use_dpop_nonce",
            Self::Pending => "authorization_pending",
            Self::AccessDenied => "access_denied",
            Self::Unavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl Refusal {
    /// A refusal with the usual status of its kind.
    pub(crate) const fn new(kind: Kind, code: &'static str, advice: &'static str) -> Self {
        Self { kind, code, advice, status: kind.status(), detail: None }
    }

    /// A refusal with the reason's own advice.
    pub(crate) const fn for_reason(kind: Kind, reason: Reason) -> Self {
        Self::new(kind, reason.code(), reason.advice())
    }

    /// The same with another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same, saying which part of the agent's own intent is meant.
    pub(crate) fn with_detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    /// A refused assertion: it authenticates a client, or it is the grant itself.
    pub(crate) fn of_assertion(kind: Kind, error: TokenError) -> Self {
        let advice = match error {
            TokenError::Expired => "the SVID has expired; fetch another",
            TokenError::WrongAudience => "the SVID's only audience must be the issuer",
            _ => {
                "the SVID was refused; fetch one from the Workload API, with the issuer as its only audience"
            }
        };
        Self::new(kind, error.code(), advice)
    }

    /// A refused proof.
    pub(crate) fn of_proof(error: TokenError) -> Self {
        let advice = match error {
            TokenError::ProofStale => "compare the clocks; a proof is good for a minute",
            TokenError::ProofUrl => {
                "the proof's htu must be the endpoint it is sent to, as in the metadata"
            }
            _ => "make a fresh proof for this request",
        };
        Self::new(Kind::InvalidProof, error.code(), advice)
    }

    /// What the broker refused. `client` is the error that says who asks is not known.
    pub(crate) fn of_broker(error: &BrokerError, client: Kind, named: NamedIn) -> Self {
        match error {
            BrokerError::Refused { reason, .. } => of_reason(*reason, client, named),
            BrokerError::Invalid { .. } | BrokerError::Missing { .. } => Self::new(
                Kind::UnauthorizedClient,
                error.code(),
                "the agent's standing task cannot be opened; ask its owner",
            ),
            BrokerError::Store(_) | BrokerError::Ledger(_) | BrokerError::Contended { .. } => {
                Self::new(Kind::Unavailable, error.code(), "come again in a moment")
            }
            BrokerError::NotAPart(_)
            | BrokerError::Approver(_)
            | BrokerError::Transition(_)
            | BrokerError::Digest(_)
            | BrokerError::Corrupt { .. }
            | BrokerError::Policy(_)
            | BrokerError::Key(_) => {
                Self::new(Kind::ServerError, error.code(), "the operator can see why in the log")
            }
        }
    }

    /// The HTTP status it is answered with.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What the caller reads: the stable code first.
    pub(crate) fn description(&self) -> String {
        format!("{}: {}", self.code, self.advice)
    }
}

fn of_reason(reason: Reason, client: Kind, named: NamedIn) -> Refusal {
    let kind = match reason {
        Reason::AgentUnknown | Reason::InstanceUnknown => client,
        Reason::TaskUnknown
        | Reason::TaskOfAnother
        | Reason::TaskNotOpen
        | Reason::TaskExpired
        | Reason::TaskTooDeep
        | Reason::TokenRevoked
        | Reason::AncestorClosed => match named {
            NamedIn::Details => Kind::InvalidDetails,
            NamedIn::Scope => Kind::InvalidScope,
            NamedIn::Subject => Kind::InvalidRequest,
            NamedIn::Nothing => Kind::UnauthorizedClient,
        },
        Reason::ChainBroken => Kind::InvalidRequest,
        Reason::NotCovered | Reason::ResourceMismatch | Reason::WrongPath => Kind::InvalidTarget,
        Reason::ProofRequired => Kind::InvalidProof,
        Reason::SnapshotStale | Reason::LedgerUnavailable | Reason::ControlUnavailable => {
            Kind::Unavailable
        }
        _ => Kind::UnauthorizedClient,
    };
    // That a task is another's is not for the caller to learn.
    let reason = if reason == Reason::TaskOfAnother { Reason::TaskUnknown } else { reason };
    Refusal::for_reason(kind, reason)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body =
            json!({ "error": self.kind.name(), "error_description": self.description() });
        if let (Some(detail), Some(body)) = (&self.detail, body.as_object_mut()) {
            body.insert("detail".to_owned(), json!(detail));
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            // HTTP wants a challenge on every 401; assertions have no scheme of their own.
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_client\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.kind == Kind::Pending {
            headers.insert(header::RETRY_AFTER, PENDING_RETRY);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_makes_a_description_oauth_allows() {
        for reason in Reason::ALL {
            for named in [NamedIn::Details, NamedIn::Scope, NamedIn::Subject, NamedIn::Nothing] {
                let text = of_reason(reason, Kind::InvalidClient, named).description();
                let allowed = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
                assert!(text.bytes().all(allowed), "{text}");
            }
        }
    }

    #[test]
    fn another_agents_task_and_no_task_at_all_are_told_alike() {
        for named in [NamedIn::Details, NamedIn::Scope, NamedIn::Subject, NamedIn::Nothing] {
            let other = of_reason(Reason::TaskOfAnother, Kind::InvalidClient, named);
            let none = of_reason(Reason::TaskUnknown, Kind::InvalidClient, named);
            assert_eq!(other, none);
        }
    }
}
