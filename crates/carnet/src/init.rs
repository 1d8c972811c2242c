//! What `carnet init` writes: a commented configuration, a policy set to begin with, the schemas
//! editors check them with, and an example intent.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use carnet_core::{NameError, UserName};

use crate::config::{Config, FILE};

/// The file of the vocabulary that policy is written in.
const VOCABULARY_FILE: &str = "carnet.cedarschema";
/// The file of the JSON schema of the configuration.
const SCHEMA_FILE: &str = "carnet.schema.json";
/// The file of the example intent.
const INTENT_FILE: &str = "intents/example.toml";
/// The name of the first user where the login name is none.
const FALLBACK_NAME: &str = "operator";

const INTENT: &str = r#"# What one task will do, said before it reads anything. See docs/intent.md.
#   carnet task open --agent support-agent --intent intents/example.toml
purpose = "answer ticket T-7 and refund its order"
deadline = "30m"

[budget]
calls = 50

# It may read what `get_*` reads at the resource `desk`.
[[allow]]
action = "desk.tool.get_*"
path = "read"

# It may refund this order, once, up to 50.00, and nothing else.
[[allow]]
action = "desk.tool.issue_refund"
path = "write"
where.order_id = { equals = "O-1042" }
where.amount_cents = { at_most = 5000 }
where.reason = { length = { max = 200 } }
uses = 1
"#;

const IGNORED: &str = "# Keys, the store and the ledger are no source text.\nstate/\nrun/\n";

/// The person who makes an installation: its first operator.
#[derive(Debug, Clone)]
pub(crate) struct Founder {
    name: UserName,
    uid: u32,
}

/// What was made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    dir: PathBuf,
    /// The first operator.
    pub(crate) user: UserName,
    /// The files, in the order they were written.
    pub(crate) files: Vec<String>,
    same_user: bool,
}

impl Founder {
    /// The person this process runs as.
    pub(crate) fn of_process() -> Result<Self, NameError> {
        let uid = rustix::process::getuid().as_raw();
        let login = login_name(uid).or_else(|| std::env::var("USER").ok());
        Ok(Self { name: user_name(login.as_deref().unwrap_or(FALLBACK_NAME))?, uid })
    }
}

/// The login name of `uid`, where this machine's own list has it.
fn login_name(uid: u32) -> Option<String> {
    let list = fs::read_to_string("/etc/passwd").ok()?;
    let uid = uid.to_string();
    let line = list.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

/// The uid of the login name `name`, where this machine's own list has it.
pub(crate) fn uid_of(name: &str) -> Option<u32> {
    let list = fs::read_to_string("/etc/passwd").ok()?;
    let line = list.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// A login name as a user name; one that cannot be, or is Carnet's own, becomes `operator`.
fn user_name(login: &str) -> Result<UserName, NameError> {
    let valid = login.parse().ok().filter(|name: &UserName| name.as_str() != "carnet");
    valid.map_or_else(|| FALLBACK_NAME.parse(), Ok)
}

/// Writes everything into `dir`. Where one of the files is there already, nothing is written.
pub(crate) fn make(dir: &Path, founder: &Founder, same_user: bool) -> anyhow::Result<Made> {
    let files = files(founder, same_user)?;
    for (name, _) in &files {
        if dir.join(name).symlink_metadata().is_ok() {
            bail!(
                "{} is there already, and nothing is overwritten: choose another directory",
                dir.join(name).display()
            );
        }
    }
    for (name, text) in &files {
        write_new(&dir.join(name), text)?;
    }
    Ok(Made {
        dir: dir.to_owned(),
        user: founder.name.clone(),
        files: files.into_iter().map(|(name, _)| name).collect(),
        same_user,
    })
}

fn files(founder: &Founder, same_user: bool) -> anyhow::Result<Vec<(String, String)>> {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Config))? + "\n";
    let mut files = vec![(FILE.to_owned(), config_text(founder, same_user))];
    let starter = carnet_policy::starter();
    files.extend(starter.files().map(|(name, text)| (format!("policy/{name}"), text.to_owned())));
    files.push((VOCABULARY_FILE.to_owned(), carnet_policy::SCHEMA.to_owned()));
    files.push((SCHEMA_FILE.to_owned(), schema));
    files.push((INTENT_FILE.to_owned(), INTENT.to_owned()));
    files.push((".gitignore".to_owned(), IGNORED.to_owned()));
    Ok(files)
}

fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    let problem = || format!("cannot write {}", file.display());
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(problem)?;
    }
    let mut out =
        OpenOptions::new().write(true).create_new(true).open(file).with_context(problem)?;
    out.write_all(text.as_bytes()).with_context(problem)
}

fn config_text(founder: &Founder, same_user: bool) -> String {
    let Founder { name, uid } = founder;
    format!(
        r#"#:schema ./{SCHEMA_FILE}
# Carnet's configuration. Paths are relative to this file. `carnet config check` reads it.

[listen]
# Where agents reach Carnet. Anything but loopback needs [listen.tls].
address = "127.0.0.1:7480"
# The address agents use, where it differs: a name, a proxy.
# issuer = "https://carnet.example.com"

# [listen.tls]
# certificate = "tls/chain.pem"
# key = "tls/key.pem"

[state]
# The store, the ledger and the keys: back it up, and let nobody else read it.
dir = "state"
# The sockets of agents and of operators.
run_dir = "run"
# What seals the secrets in the store, where it is not a file beside it: "file:PATH" or "env:NAME".
# kek = "env:CARNET_KEK"

[trust]
# The SPIFFE trust domain. It is part of every agent's name: choose it once.
domain = "carnet.local"
# Whether an agent may run under an operator's uid, and could then act as that operator.
same_user = {same_user}

# Who else vouches for agents; `carnet agent add` says for which. See docs/identities.md.
# [[trust.issuer]]
# url = "https://token.actions.githubusercontent.com"
# audience = "https://carnet.example.com"

# [[trust.foreign_domain]]
# name = "cluster.example.com"
# bundle = "https://spire.example.com:8443/bundle"

# Who vouches for people, by their `logins`.
# [[trust.idp]]
# url = "https://idp.example.com"

[tokens]
# Whether a proof of an agent's key must hold a nonce of Carnet's: one more round trip, and no proof
# can be made ahead of time.
dpop_nonce = false

[login]
# The OpenID provider people log in with besides `carnet login`, and the client it knows Carnet as.
# issuer = "https://idp.example.com"
# client_id = "carnet"
# Hosts within your own walls that documents of people's clients come from too.
# client_hosts = ["apps.internal"]

[approvals]
# How long a call that needs a person waits before the agent is told to come back, in seconds.
hold_s = 0

[freshness]
# For how long Carnet may decide on the view it has, in milliseconds.
window_ms = 1000

[context]
# What is done when what tasks rest on changes: "record" (and nothing else), "suspend" (until an
# operator resumes), "close", or "lock" (whom it is about). See docs/context.md.
# agent_changed = "suspend"
# agent_removed = "close"
# owner_gone = "suspend"
# user_changed = "record"
# user_gone = "close"
# session_revoked = "close"
# credential_change = "close"
# risk_level_high = "suspend"
# risk_level_medium = "record"
# risk_level_low = "record"
# device_not_compliant = "suspend"
# assurance_decrease = "suspend"

# Who may tell of events by security event tokens (OpenID CAEP), sent to /ssf/events.
# [[context.transmitter]]
# issuer = "https://idp.example.com"
# keys = "https://idp.example.com/jwks"

# The people Carnet knows. One with a `uid` is an operator: whoever connects to the operators'
# socket under this uid is this person. What each may do is for policy to say, by `teams`.
[[user]]
name = "{name}"
uid = {uid}
teams = ["operators"]
"#
    )
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        writeln!(f, "made in {dir}:")?;
        for file in &self.files {
            writeln!(f, "  {file}")?;
        }
        if self.same_user {
            writeln!(f, "\nAgents may run under your uid and could act as you: for trying only.")?;
        }
        writeln!(f, "\nYou are `{}`, the first operator. Next:", self.user)?;
        let steps = [
            (
                format!("carnet up --config {dir}"),
                "run Carnet; then, in another terminal".to_owned(),
            ),
            (
                format!("carnet policy activate {dir}/policy --config {dir}"),
                "put the policy set in force".to_owned(),
            ),
            ("carnet agent add --help".to_owned(), "register an agent".to_owned()),
            ("carnet resource add --help".to_owned(), "register what it is to reach".to_owned()),
        ];
        let steps: Vec<(&str, String)> =
            steps.iter().map(|(command, what)| (command.as_str(), what.clone())).collect();
        f.write_str(&crate::output::fields(2, &steps))
    }
}

#[cfg(test)]
mod tests {
    use carnet_core::Intent;
    use carnet_policy::{CedarPolicy, PolicySource};

    use super::*;

    fn founder() -> Founder {
        Founder { name: "ana".parse().unwrap(), uid: 1_000 }
    }

    #[test]
    fn what_is_made_is_what_every_other_command_reads() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(dir.path(), &founder(), false).unwrap();
        assert!(made.files.len() >= 8, "{:?}", made.files);
        let config = Config::read(dir.path()).unwrap();
        assert_eq!(config.users[0].name.as_str(), "ana");
        assert_eq!((config.users[0].uid, config.trust.same_user), (Some(1_000), false));
        let policy = PolicySource::read_dir(&dir.path().join("policy")).unwrap();
        CedarPolicy::load(&policy).unwrap();
        let intent = fs::read_to_string(dir.path().join(INTENT_FILE)).unwrap();
        toml::from_str::<Intent>(&intent).unwrap();
    }

    #[test]
    fn the_values_written_are_the_defaults() {
        let text = config_text(&founder(), false);
        let written: Config = toml::from_str(&text).unwrap();
        let implied: Config = toml::from_str("").unwrap();
        let parts = |config: &Config| {
            format!(
                "{:?}",
                (
                    &config.listen,
                    &config.state,
                    &config.trust,
                    &config.tokens,
                    &config.approvals,
                    &config.freshness
                )
            )
        };
        assert_eq!(parts(&written), parts(&implied));
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_half_made() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SCHEMA_FILE), "mine").unwrap();
        let error = make(dir.path(), &founder(), false).unwrap_err().to_string();
        assert!(error.contains(SCHEMA_FILE), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join(SCHEMA_FILE)).unwrap(), "mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_login_name_that_is_no_user_name_becomes_the_operator() {
        assert_eq!(user_name("ana").unwrap().as_str(), "ana");
        for login in ["Ana.B", "carnet", "", "$(id)"] {
            assert_eq!(user_name(login).unwrap().as_str(), FALLBACK_NAME);
        }
    }
}
