//! `carnet agent`: who may ask for anything at all.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use carnet_core::{Agent, AgentName, Digest, Identity, Owner, Selectors};
use carnet_identity::SpiffeId;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::task::instants;
use super::{Session, exit, intent_file, usage};
use crate::client::segment;
use crate::init;
use crate::output::fields;
use crate::shown::escaped;

/// Register agents and look at them
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet agent list")]
pub(crate) enum AgentCommand {
    Add(Box<Add>),
    List(List),
    Remove(Remove),
    Review(usage::Review),
}

/// Register an agent, or change its registration
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet agent add support-agent --owner team:support --uid 1001
  carnet agent add crawler --owner user:ana --spiffe-id spiffe://prod.example/ns/web/sa/crawler
  carnet agent add editor --owner user:ana --client desk-editor --redirect-uri http://127.0.0.1/callback

An agent on this machine is told by what the kernel says of its process: at least its uid. One
elsewhere is told by the name another authority vouches for: each exactly, and one name is one agent's.
The owner is who answers for it, and who is asked where policy names `owner`. The user must be in
carnet.toml.")]
pub(crate) struct Add {
    /// Its name: the last part of its SPIFFE ID
    #[arg(value_name = "NAME")]
    name: AgentName,
    /// Who answers for it: user:NAME or team:NAME
    #[arg(long, value_name = "OWNER")]
    owner: Owner,
    /// The uid it runs under on this machine, or the login name
    #[arg(long, value_name = "UID", value_parser = uid,
        required_unless_present_any = ["spiffe_ids", "oidc", "client"])]
    uid: Option<u32>,
    /// Its SPIFFE ID in another trust domain; may be repeated
    #[arg(long = "spiffe-id", value_name = "SPIFFE_ID")]
    spiffe_ids: Vec<SpiffeId>,
    /// The issuer and the subject of its tokens; may be repeated
    #[arg(long, num_args = 2, value_names = ["ISSUER", "SUBJECT"])]
    oidc: Vec<String>,
    /// Its OAuth client_id; where that is no https address, give its keys too
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
    /// The public keys the client authenticates with: a JSON Web Key Set
    #[arg(long, value_name = "JWKS.json", requires = "client")]
    client_keys: Option<PathBuf>,
    /// Where the client's answers may go when it acts for a person; may be repeated
    #[arg(long = "redirect-uri", value_name = "URI", requires = "client")]
    redirect_uris: Vec<String>,
    /// The group it must run under too
    #[arg(long, value_name = "GID", requires = "uid")]
    gid: Option<u32>,
    /// The program it must run, by its absolute path
    #[arg(long, value_name = "PATH", requires = "uid")]
    executable: Option<PathBuf>,
    /// The digest the program must have: sha256:…
    #[arg(long, value_name = "DIGEST", requires = "uid")]
    executable_digest: Option<Digest>,
    /// Where it lives: production, staging, development or a word of your own
    #[arg(long, value_name = "WORD", default_value = "development")]
    environment: String,
    /// The reads it may open a task for by itself: an intent
    #[arg(long, value_name = "INTENT.toml")]
    standing: Option<PathBuf>,
    /// Accept its tokens without proof of its key, on the read path only
    #[arg(long)]
    bearer_read: bool,
}

/// List the agents
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet agent list --output json")]
pub(crate) struct List {}

/// Take an agent off the registry: its tasks end, and it gets nothing any more
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet agent remove crawler")]
pub(crate) struct Remove {
    /// The agent
    #[arg(value_name = "NAME")]
    name: AgentName,
}

impl AgentCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => add.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Remove(remove) => remove.run(session).await,
            Self::Review(review) => review.run(session).await,
        }
    }
}

impl Remove {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/agents/{}", segment(self.name.as_str()));
        let answer: Value = session.client()?.delete(&path).await?;
        session
            .output
            .print(&answer, || format!("removed {}\n{}", self.name, instants(&answer)))?;
        exit::done()
    }
}

impl Add {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let agent = self.agent()?;
        let answer: Value = session.client()?.put("/v1/agents", &agent).await?;
        let id = answer.get("spiffe_id").and_then(Value::as_str).unwrap_or_default();
        session.output.print(&json!({ "agent": agent, "spiffe_id": id }), || {
            let mut text = format!("registered {}\n", agent.name);
            text.push_str(&fields(
                2,
                &[
                    ("SPIFFE ID", escaped(id)),
                    ("owner", agent.owner.to_string()),
                    ("told by", told_by(&agent)),
                    ("environment", escaped(&agent.environment)),
                    ("standing intent", yes(agent.standing.is_some())),
                    ("bearer reads", yes(agent.bearer_read)),
                ],
            ));
            text
        })?;
        exit::done()
    }

    fn identities(&self) -> anyhow::Result<Vec<Identity>> {
        let spiffe = self.spiffe_ids.iter().map(|id| Identity::Spiffe { id: id.to_string() });
        let oidc = self.oidc.chunks_exact(2).filter_map(|pair| match pair {
            [issuer, subject] => {
                Some(Identity::Oidc { issuer: issuer.clone(), subject: subject.clone() })
            }
            _ => None,
        });
        let mut identities: Vec<_> = spiffe.chain(oidc).collect();
        if let Some(id) = &self.client {
            let keys = self.client_keys.as_deref().map(read_keys).transpose()?;
            let redirect_uris = self.redirect_uris.clone();
            identities.push(Identity::Client { id: id.clone(), keys, redirect_uris });
        }
        Ok(identities)
    }

    fn agent(self) -> anyhow::Result<Agent> {
        let executable = self.executable.clone().map(|path| {
            let text = path.to_str().filter(|_| path.is_absolute()).map(str::to_owned);
            text.ok_or_else(|| exit::usage("--executable: write an absolute path in UTF-8"))
        });
        let executable = executable.transpose()?;
        let identities = self.identities()?;
        let standing = self.standing.map(|file| intent_file::read(&file)).transpose()?;
        Ok(Agent {
            name: self.name,
            owner: self.owner,
            environment: self.environment,
            selectors: self.uid.map(|uid| Selectors {
                uid,
                gid: self.gid,
                executable,
                executable_digest: self.executable_digest,
            }),
            identities,
            standing,
            bearer_read: self.bearer_read,
        })
    }
}

/// The key set in `file`. What is in it is the broker's to judge.
fn read_keys(file: &Path) -> anyhow::Result<Value> {
    let problem = || format!("--client-keys: {}", file.display());
    let text = std::fs::read(file).with_context(problem)?;
    serde_json::from_slice(&text).with_context(problem)
}

fn uid(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    init::uid_of(text).ok_or_else(|| {
        format!("there is no user `{text}` in /etc/passwd: write the number `id -u` says")
    })
}

fn told_by(agent: &Agent) -> String {
    let mut parts = Vec::new();
    if let Some(selectors) = &agent.selectors {
        parts.push(format!("uid {}", selectors.uid));
        parts.extend(selectors.gid.map(|gid| format!("gid {gid}")));
        parts.extend(selectors.executable.as_deref().map(escaped));
        parts.extend(selectors.executable_digest.map(|digest| digest.to_string()));
    }
    parts.extend(agent.identities.iter().map(|identity| escaped(&identity.to_string())));
    parts.join(", ")
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

impl List {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let agents: Vec<Agent> = session.client()?.get("/v1/agents").await?;
        let row = |agent: &Agent| {
            vec![
                agent.name.to_string(),
                agent.owner.to_string(),
                escaped(&agent.environment),
                told_by(agent),
                yes(agent.standing.is_some()),
                yes(agent.bearer_read),
            ]
        };
        session.output.print(&agents, || {
            if agents.is_empty() {
                return "no agent is registered; see `carnet agent add --help`".to_owned();
            }
            let head = ["name", "owner", "environment", "told by", "standing", "bearer reads"];
            session.output.table(&head, agents.iter().map(row).collect())
        })?;
        exit::done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_a_number_or_a_login_name() {
        assert_eq!(uid("1000"), Ok(1_000));
        assert_eq!(uid("root"), Ok(0));
        assert!(uid("no-such-login").unwrap_err().contains("id -u"));
    }
}
