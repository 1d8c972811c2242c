//! What is typed of a federation target.

use carnet_core::FederationTarget;
use clap::Args;

/// How long a session may live where nobody said: what AWS and Google give unasked.
const SESSION_S_DEFAULT: u32 = 3600;

/// A cloud or a service that trusts Carnet as an OIDC issuer.
#[derive(Debug, Args)]
pub(crate) struct Federation {
    /// A cloud or a service that takes tokens of Carnet's: the audience it expects
    #[arg(long, value_name = "AUDIENCE", conflicts_with_all = ["url", "stdio"])]
    federation: Option<String>,
    /// How long a token for it lives at most
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "federation")]
    ttl_s: u32,
    /// How long what it gives for a token may live; 0 where it takes the token itself
    #[arg(long, value_name = "SECONDS", default_value_t = SESSION_S_DEFAULT, requires = "federation")]
    session_s: u32,
    /// Let its tokens carry session tags and a source identity for AWS
    #[arg(long, requires = "federation")]
    aws_tags: bool,
    /// Let `sub` end in the path, for a target that can tell tokens by nothing else
    #[arg(long, requires = "federation")]
    subject_per_path: bool,
}

impl Federation {
    /// The target, where one was named.
    pub(crate) fn target(&self) -> Option<FederationTarget> {
        let Self { ttl_s, session_s, aws_tags, subject_per_path, .. } = *self;
        let audience = self.federation.clone()?;
        Some(FederationTarget { audience, ttl_s, session_s, aws_tags, subject_per_path })
    }
}
