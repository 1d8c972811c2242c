//! `carnet resource`: what agents may be let near.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use carnet_core::{
    ArgumentKind, Path, Reach, Registered, Resource, ResourceName, RunAs, SecretRef, SecretSource,
    Transport, Upstream,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Session, exit, federation, review, transport};
use crate::client::segment;
use crate::output::{Output, fields};
use crate::shown::escaped;

/// Register resources, look at them, and review what they offer
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet resource list")]
pub(crate) enum ResourceCommand {
    Add(Box<Add>),
    List(List),
    Show(Show),
    Review(review::ReviewCommand),
}

/// Register a resource, or change where it is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  carnet resource add desk --url https://desk.example.com/mcp --label task-read --read-credential file:/run/secrets/desk-read --write-credential file:/run/secrets/desk-write
  carnet resource add aws --federation sts.amazonaws.com --aws-tags --ttl-s 120 --session-s 900
  carnet resource add files --stdio --run-as 1002 --read-credential env:FILES_TOKEN=TOKEN -- files-server --quiet

Each path has its own credential. Where two share one, or there is none, the resource is labelled
`unsplit`, which policy sees. A secret itself is never given here: only where it is. A changed
address or command loses its reviews. With --federation the resource is what trusts Carnet as an OIDC
issuer; see docs/federation.md.")]
pub(crate) struct Add {
    /// Its name
    #[arg(value_name = "NAME")]
    name: ResourceName,
    /// The MCP endpoint, over Streamable HTTP
    #[arg(long, value_name = "URL", conflicts_with = "stdio", conflicts_with = "stdio", required_unless_present_any = ["stdio", "federation"])]
    url: Option<String>,
    /// A child process that speaks MCP; its command stands behind `--`
    #[arg(long, requires = "command")]
    stdio: bool,
    /// The user and group of --stdio, by number: one of its own, that nothing else runs as
    #[arg(long, value_name = "UID[:GID]", value_parser = transport::run_as, requires = "stdio")]
    run_as: Option<RunAs>,
    #[command(flatten)]
    federation: federation::Federation,
    /// Where it lives; policy may keep agents of one environment out of another
    #[arg(long, value_name = "WORD", default_value = "development")]
    environment: String,
    /// A label policy can speak of (repeatable); `untrusted` where anybody may have written what is read
    /// there, so that who reads it is marked
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// What the read path travels with: file:PATH or env:NAME, behind it =VARIABLE for --stdio
    #[arg(long, value_name = "SECRET", value_parser = transport::secret)]
    read_credential: Option<SecretRef>,
    /// What the write path travels with
    #[arg(long, value_name = "SECRET", value_parser = transport::secret)]
    write_credential: Option<SecretRef>,
    /// What the admin path travels with
    #[arg(long, value_name = "SECRET", value_parser = transport::secret)]
    admin_credential: Option<SecretRef>,
    /// The program of --stdio, and its arguments
    #[arg(last = true, value_name = "COMMAND", requires = "stdio")]
    command: Vec<String>,
}

/// List the resources
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet resource list --output json")]
pub(crate) struct List {}

/// Show a resource and its reviewed operations
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet resource show desk")]
pub(crate) struct Show {
    /// Its name
    #[arg(value_name = "NAME")]
    name: ResourceName,
}

impl ResourceCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => add.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Show(show) => show.run(session).await,
            Self::Review(review) => review.run(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let resource = self.resource()?;
        let answer: Value = session.client()?.put("/v1/resources", &resource).await?;
        let addresses: Vec<String> =
            serde_json::from_value(answer.get("addresses").cloned().unwrap_or_default())?;
        let reviewed = answer.get("reviewed").and_then(Value::as_u64).unwrap_or_default();
        let document =
            json!({ "resource": resource, "addresses": addresses, "reviewed": reviewed });
        session.output.print(&document, || {
            let mut text = format!("registered {}\n{}", resource.name, about(&resource));
            for (path, address) in Path::ALL.iter().zip(&addresses) {
                text.push_str(&format!(
                    "  {:16}  {}\n",
                    format!("{path} address"),
                    escaped(address)
                ));
            }
            let name = &resource.name;
            text.push_str(&match reviewed {
                0 => {
                    format!("nothing of it can be called before `carnet resource review {name}`\n")
                }
                _ => format!("{reviewed} reviews of it stand; see `carnet resource show {name}`\n"),
            });
            text
        })?;
        exit::done()
    }

    fn resource(self) -> anyhow::Result<Resource> {
        let transport = match (self.federation.target(), &self.url) {
            (Some(target), _) => Transport::Federation(target),
            (None, Some(url)) => transport::http(url)?,
            (None, None) => transport::stdio(&self.command, self.run_as)?,
        };
        let given = [
            (Path::Read, self.read_credential),
            (Path::Write, self.write_credential),
            (Path::Admin, self.admin_credential),
        ];
        let credentials: BTreeMap<Path, SecretRef> =
            given.into_iter().filter_map(|(path, secret)| Some((path, secret?))).collect();
        transport::check_variables(&transport, &credentials)?;
        let mut labels: BTreeSet<String> = self.labels.into_iter().collect();
        let is_unsplit = match &transport {
            // Its tokens are its credentials: `sub` tells their paths apart, or only what it looks at.
            Transport::Federation(target) => !target.subject_per_path,
            _ => transport::is_unsplit(&credentials),
        };
        if is_unsplit {
            labels.insert(transport::UNSPLIT.to_owned());
        }
        Ok(Resource {
            name: self.name,
            environment: self.environment,
            labels,
            upstream: Upstream { transport, credentials },
            operations: BTreeMap::new(),
        })
    }
}

fn about(resource: &Resource) -> String {
    let labels: Vec<String> = resource.labels.iter().map(|label| escaped(label)).collect();
    let mut lines = vec![
        ("environment", escaped(&resource.environment)),
        ("labels", if labels.is_empty() { "none".into() } else { labels.join(", ") }),
        ("reached by", reached_by(&resource.upstream.transport)),
    ];
    for path in Path::ALL {
        let name = match path {
            Path::Read => "read credential",
            Path::Write => "write credential",
            Path::Admin => "admin credential",
        };
        let secret = resource.upstream.credentials.get(&path).map(secret_text);
        lines.push((name, secret.unwrap_or_else(|| "none".to_owned())));
    }
    fields(2, &lines)
}

fn reached_by(transport: &Transport) -> String {
    match transport {
        Transport::Http { url } => escaped(url),
        Transport::Stdio { command, args, run_as } => {
            let words: Vec<String> =
                std::iter::once(command).chain(args).map(|word| escaped(word)).collect();
            let user = match run_as {
                Some(RunAs { uid, gid }) => format!(" (as {uid}:{gid})"),
                None => " (as Carnet itself)".to_owned(),
            };
            words.join(" ") + &user
        }
        Transport::Federation(target) => format!("tokens for {}", escaped(&target.audience)),
    }
}

fn secret_text(secret: &SecretRef) -> String {
    let place = match &secret.source {
        SecretSource::File(path) => format!("file {}", escaped(path)),
        SecretSource::Env(name) => format!("variable {}", escaped(name)),
    };
    match &secret.as_variable {
        Some(variable) => format!("{place}, handed on as {}", escaped(variable)),
        None => place,
    }
}

impl List {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let resources: Vec<Resource> = session.client()?.get("/v1/resources").await?;
        session.output.print(&resources, || {
            if resources.is_empty() {
                return "no resource is registered; see `carnet resource add --help`".to_owned();
            }
            let head = ["name", "environment", "labels", "operations", "reached by"];
            session.output.table(&head, resources.iter().map(row).collect())
        })?;
        exit::done()
    }
}

fn row(resource: &Resource) -> Vec<String> {
    let labels: Vec<String> = resource.labels.iter().map(|label| escaped(label)).collect();
    vec![
        resource.name.to_string(),
        escaped(&resource.environment),
        labels.join(", "),
        resource.operations.len().to_string(),
        reached_by(&resource.upstream.transport),
    ]
}

impl Show {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/resources/{}", segment(self.name.as_str()));
        let resource: Resource = session.client()?.get(&path).await?;
        session.output.print(&resource, || {
            format!(
                "{}\n{}\n{}",
                resource.name,
                about(&resource),
                operations(session.output, &resource)
            )
        })?;
        exit::done()
    }
}

fn operations(output: Output, resource: &Resource) -> String {
    if resource.operations.is_empty() {
        return format!(
            "nothing of it is reviewed; see `carnet resource review {}`",
            resource.name
        );
    }
    let row = |operation: &Registered| {
        vec![
            operation.action.to_string(),
            operation.path.to_string(),
            effect(operation.effect),
            arguments(&operation.arguments),
            operation.pin.to_string(),
        ]
    };
    let rows = resource.operations.values().map(row).collect();
    output.table(&["operation", "path", "effect", "arguments", "pin"], rows)
}

/// An effect class in words.
pub(crate) fn effect(effect: carnet_core::EffectClass) -> String {
    let undo = if effect.reversible { "reversible" } else { "irreversible" };
    let reach = match effect.reach {
        Reach::Inside => "inside",
        Reach::Egress => "egress",
    };
    format!("{undo}, {reach}")
}

/// How arguments are read, in one line.
pub(crate) fn arguments(arguments: &BTreeMap<String, ArgumentKind>) -> String {
    let one = |(name, kind): (&String, &ArgumentKind)| format!("{}={}", escaped(name), word(*kind));
    arguments.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The word of a kind of argument.
pub(crate) const fn word(kind: ArgumentKind) -> &'static str {
    match kind {
        ArgumentKind::Text => "text",
        ArgumentKind::Number => "number",
        ArgumentKind::Email => "email",
        ArgumentKind::Url => "url",
        ArgumentKind::FilePath => "file_path",
        ArgumentKind::Sql => "sql",
        ArgumentKind::Code => "code",
    }
}
