//! `carnet token`: one token, for programs that speak HTTP themselves.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use carnet_core::{Path, ResourceName};
use clap::Args;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{Session, exit};
use crate::agent::http::HttpClient;
use crate::agent::key;
use crate::agent::place::PlaceOptions;
use crate::agent::token::{TokenClient, TokenClientParts};
use crate::agent::workload::Workload;

const AFTER_HELP: &str = "\
Example:
  carnet token --resource desk --path read --task task_1 --header   print `Authorization: …`

A token is for one task, one resource and one path, and lives for minutes. With --dpop-key it is bound
to that key, and every request needs a proof made with it; without, it can be had on the read path only,
where the agent is registered with `--bearer-read`.";

/// Get a token for a resource, as the agent this process is
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Token {
    /// The resource
    #[arg(long, value_name = "NAME")]
    resource: ResourceName,
    /// The path: read, write or admin
    #[arg(long)]
    path: Path,
    /// The key to bind the token to, in PKCS#8; made there, for its owner alone, where there is none
    #[arg(long, value_name = "FILE")]
    dpop_key: Option<PathBuf>,
    /// Print it as the header of a request
    #[arg(long)]
    header: bool,
    #[command(flatten)]
    place: PlaceOptions,
}

impl Token {
    /// Prints the token.
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let place = self.place.resolve(&session.place)?;
        let key = self.dpop_key.as_deref().map(key::load_or_create).transpose()?;
        let tokens = TokenClient::new(TokenClientParts {
            http: HttpClient::new(&place.issuer)?,
            identity: Arc::new(Workload::new(place.socket, place.spiffe_id)),
            issuer: place.issuer,
            key,
            task: place.task,
        });
        let token = tokens.token(self.path, &self.resource).await?;
        let document = json!({
            "token": token.secret().expose_secret(),
            "type": token.token_type(),
            "expires_in": token.ttl_s,
            "task": token.task,
            "resource": tokens.address(self.path, &self.resource),
        });
        session.output.print(&document, || match self.header {
            true => format!("Authorization: {}", token.authorization().expose_secret()),
            false => token.secret().expose_secret().to_owned(),
        })?;
        exit::done()
    }
}
