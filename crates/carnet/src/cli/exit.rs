//! Exit codes: what a script learns of a command without reading its words.

use std::process::ExitCode;

use http::StatusCode;
use serde_json::{Value, json};

use crate::agent::http::HttpError;
use crate::agent::token::TokenError;
use crate::agent::workload::WorkloadError;
use crate::client::ClientError;

/// Done.
pub(crate) const DONE: u8 = 0;
/// Refused, or it failed.
pub(crate) const FAILED: u8 = 1;
/// Called the wrong way.
pub(crate) const USAGE: u8 = 2;
/// What was named does not exist.
pub(crate) const NOT_FOUND: u8 = 3;
/// Carnet is not running.
pub(crate) const UNREACHABLE: u8 = 4;

/// The command was called the wrong way, in a manner its grammar does not show.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// An error that the command line's usage explains.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// The exit code of `error`.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() {
        return USAGE;
    }
    match error.downcast_ref::<ClientError>() {
        None if is_unreachable(error) => UNREACHABLE,
        Some(ClientError::Unreachable { .. }) => UNREACHABLE,
        Some(ClientError::Refused { status, .. }) if *status == StatusCode::NOT_FOUND => NOT_FOUND,
        _ => FAILED,
    }
}

/// `error` as the JSON document a program reads.
pub(crate) fn document(error: &anyhow::Error) -> Value {
    let word = match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused { code, .. }) => code.as_str(),
        Some(ClientError::Unreachable { .. }) => "unreachable",
        Some(ClientError::Garbled(_)) => "garbled",
        None if error.is::<UsageError>() => "usage",
        None if is_unreachable(error) => "unreachable",
        None => "failed",
    };
    json!({ "error": { "code": word, "message": format!("{error:#}") } })
}

/// Whether an agent's way to Carnet ends at nobody.
fn is_unreachable(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<TokenError>(),
        Some(
            TokenError::Identity(WorkloadError::Unreachable { .. })
                | TokenError::Http(HttpError::Unreachable(_))
        )
    )
}

/// Done.
pub(crate) fn done() -> anyhow::Result<ExitCode> {
    Ok(ExitCode::from(DONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: StatusCode) -> anyhow::Error {
        ClientError::Refused { status, code: "c".into(), message: "m".into() }.into()
    }

    #[test]
    fn each_kind_of_failure_has_its_own_code() {
        let unreachable = ClientError::Unreachable { socket: "s".into(), problem: "p".into() };
        assert_eq!(code(&refused(StatusCode::FORBIDDEN)), FAILED);
        assert_eq!(code(&refused(StatusCode::NOT_FOUND)), NOT_FOUND);
        assert_eq!(code(&unreachable.into()), UNREACHABLE);
        let no_socket = WorkloadError::Unreachable { socket: "s".into(), problem: "p".into() };
        assert_eq!(code(&TokenError::from(no_socket).into()), UNREACHABLE);
        assert_eq!(code(&TokenError::from(WorkloadError::Late).into()), FAILED);
        assert_eq!(code(&usage("u")), USAGE);
        assert_eq!(code(&anyhow::anyhow!("x")), FAILED);
    }

    #[test]
    fn context_around_an_error_does_not_change_its_code() {
        let error = refused(StatusCode::NOT_FOUND).context("task_1");
        assert_eq!(code(&error), NOT_FOUND);
    }

    #[test]
    fn a_program_reads_the_code_carnet_gave() {
        assert_eq!(document(&refused(StatusCode::FORBIDDEN))["error"]["code"], "c");
    }
}
