//! `carnet.toml`: one file, unknown keys refused, secrets only by reference.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use carnet_broker::oauth::OAuthOptions;
use carnet_core::{Login, User, UserName};
use carnet_identity::TrustDomain;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::agent::issuer::Issuer;
use crate::authorities::{ForeignDomainEntry, IdpEntry, IssuerEntry};
use crate::context::Context;
use crate::login::LoginSection;

/// The file's name.
pub(crate) const FILE: &str = "carnet.toml";

/// The whole configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where agents reach Carnet.
    #[serde(default)]
    pub listen: Listen,
    /// Where Carnet keeps what must not be lost.
    #[serde(default)]
    pub state: State,
    /// The built-in trust domain.
    #[serde(default)]
    pub trust: Trust,
    /// How tokens are asked for.
    #[serde(default)]
    pub tokens: Tokens,

    /// How people come in with clients of their own.
    #[serde(default)]
    pub login: LoginSection,
    /// How people are asked.
    #[serde(default)]
    pub approvals: Approvals,
    /// How long a node may decide on the view it has.
    #[serde(default)]
    pub freshness: Freshness,
    /// What is done when what tasks rest on changes.
    #[serde(default)]
    pub context: Context,
    /// The people Carnet knows. One with a `uid` is an operator.
    #[serde(default, rename = "user")]
    pub users: Vec<UserEntry>,
    /// Where the file was read from; every other path is relative to it.
    #[serde(skip)]
    pub root: PathBuf,
}

/// Where agents reach Carnet.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    /// The address and port. Anything but loopback needs `tls`.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// The address agents use, where it differs (a proxy, a name). Tokens are issued by it.
    pub issuer: Option<String>,
    /// Certificate and key, both PEM.
    pub tls: Option<Tls>,
}

/// Certificate and key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where Carnet keeps what must not be lost.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct State {
    /// Store, ledger and keys.
    pub dir: PathBuf,
    /// The two sockets: `agent.sock` and `operator.sock`.
    pub run_dir: PathBuf,
    /// The key that seals what is secret in the store: `file:PATH` (32 bytes, or their base64; mode
    /// 0600) or `env:NAME` (base64). Without it a file beside the store, made at the first start.
    #[serde(default)]
    pub kek: Option<String>,
}

/// Where the key that seals at rest comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KekSource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// The built-in trust domain, and who else vouches.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Trust {
    /// The SPIFFE trust domain: lower case, like `carnet.internal`.
    pub domain: String,
    /// Lets agents run under an operator's uid. Loopback only, and it warns.
    pub same_user: bool,
    /// OIDC issuers that vouch for agents.
    #[serde(rename = "issuer")]
    pub issuers: Vec<IssuerEntry>,
    /// Other SPIFFE trust domains that vouch for agents.
    #[serde(rename = "foreign_domain")]
    pub foreign_domains: Vec<ForeignDomainEntry>,
    /// Identity providers that vouch for people.
    #[serde(rename = "idp")]
    pub idps: Vec<IdpEntry>,
}

/// How tokens are asked for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tokens {
    /// Whether every proof of a key at the token endpoint must hold a nonce of ours: a proof made
    /// ahead of time is then worth nothing, and the first request of a client is one round trip longer.
    pub dpop_nonce: bool,
}

/// How people are asked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Approvals {
    /// How long a call that needs a person waits before the agent is told to come back, in seconds.
    pub hold_s: u64,
}

/// How long a node may decide on the view it has.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Freshness {
    /// The window, in milliseconds.
    pub window_ms: u64,
}

/// A person.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserEntry {
    /// Their name: lower case letters, digits and `-`.
    #[schemars(with = "String")]
    pub name: UserName,
    /// The uid they operate under, where they operate.
    pub uid: Option<u32>,
    /// The teams they belong to.
    #[serde(default)]
    pub teams: BTreeSet<String>,
    /// By what names identity providers vouch for them.
    #[serde(default)]
    pub logins: Vec<LoginEntry>,
}

/// The name an identity provider has for a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginEntry {
    /// The identity provider: the `iss` of its tokens, exactly.
    pub issuer: String,
    /// The person: the `sub` of its tokens, exactly.
    pub subject: String,
}

impl LoginEntry {
    fn known(&self) -> Login {
        Login { issuer: self.issuer.clone(), subject: self.subject.clone() }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 7480)), issuer: None, tls: None }
    }
}

impl Default for State {
    fn default() -> Self {
        Self { dir: "state".into(), run_dir: "run".into(), kek: None }
    }
}

impl Default for Trust {
    fn default() -> Self {
        let (issuers, foreign_domains, idps) = (Vec::new(), Vec::new(), Vec::new());
        Self { domain: "carnet.local".into(), same_user: false, issuers, foreign_domains, idps }
    }
}

#[expect(clippy::derivable_impls, reason = "the other sections state their defaults the same way")]
impl Default for Approvals {
    fn default() -> Self {
        Self { hold_s: 0 }
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Self { window_ms: 1_000 }
    }
}

impl Config {
    /// Reads and checks `DIR/carnet.toml`, or the file itself.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!("cannot read {}: run `carnet init DIR` to make one", file.display())
        })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        let root = file.parent().unwrap_or(Path::new(".")).to_owned();
        config.root = std::path::absolute(root)?;
        config.check().with_context(|| file.display().to_string())?;
        Ok(config)
    }

    /// Everything that can be wrong beyond the form of the file.
    fn check(&self) -> anyhow::Result<()> {
        let is_local = self.listen.address.ip().is_loopback();
        if !is_local && self.listen.tls.is_none() {
            bail!(
                "listen.address: {} is not loopback, so agents would send tokens in clear: \
                 add [listen.tls] with `certificate` and `key`",
                self.listen.address
            );
        }
        if !is_local && self.trust.same_user {
            bail!(
                "trust.same_user: agents and operators must be different people outside loopback: remove it"
            );
        }
        if !(100..=60_000).contains(&self.freshness.window_ms) {
            bail!(
                "freshness.window_ms: {}: choose between 100 and 60000",
                self.freshness.window_ms
            );
        }
        if self.approvals.hold_s > 600 {
            bail!("approvals.hold_s: {}: choose at most 600", self.approvals.hold_s);
        }
        self.trust_domain()?;
        self.check_issuer()?;
        crate::authorities::check(self)?;
        self.context.check()?;
        self.login.check(&self.issuer())?;
        self.check_users()
    }

    /// What is told to agents as Carnet's address must be one they can reach, and send tokens to.
    fn check_issuer(&self) -> anyhow::Result<()> {
        let address = self.listen.address;
        if address.port() == 0 {
            bail!(
                "listen.address: {address} names no port agents could know: write one, such as 7480"
            );
        }
        if self.listen.issuer.is_none() && address.ip().is_unspecified() {
            bail!(
                "listen.address: nobody reaches Carnet at {address}: set listen.issuer to the address agents use, \
                 such as `https://carnet.example.com`"
            );
        }
        let issuer: Issuer = self.issuer().parse().context("listen.issuer")?;
        if self.listen.tls.is_some() && !issuer.is_tls() {
            bail!(
                "listen.issuer: `{issuer}` is http, but [listen.tls] is set: write it with https"
            );
        }
        Ok(())
    }

    /// Everything that only the files it names can tell. `carnet up` reads them itself; clients of a
    /// running Carnet need not be able to.
    pub(crate) fn check_files(&self) -> anyhow::Result<()> {
        match &self.listen.tls {
            Some(tls) => crate::serve::certified(tls, &self.root).map(drop),
            None => Ok(()),
        }?;
        self.login.options(self)?;
        crate::authorities::read(self).map(drop)
    }

    /// What may be meant, but is seldom.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.users.iter().all(|user| user.uid.is_none()) {
            warnings.push(
                "there are no operators, so nobody can operate it: add a [[user]] with a `uid`"
                    .to_owned(),
            );
        }
        if self.trust.same_user {
            warnings.push(
                "trust.same_user: an agent may run as an operator and act as them: for trying only"
                    .to_owned(),
            );
        }
        warnings
    }

    fn check_users(&self) -> anyhow::Result<()> {
        let mut names = BTreeSet::new();
        let mut uids = BTreeSet::new();
        let mut logins = BTreeSet::new();
        for (index, user) in self.users.iter().enumerate() {
            if user.name.as_str() == "carnet" {
                bail!(
                    "user[{index}].name: `carnet` is the name Carnet itself acts in: choose another"
                );
            }
            for team in &user.teams {
                // An owner names a team in the same words.
                team.parse::<UserName>()
                    .map_err(|error| anyhow::anyhow!("user[{index}].teams: `{team}`: {error}"))?;
            }
            for login in &user.logins {
                if !logins.insert(login) {
                    bail!(
                        "user[{index}].logins: `{}` of {} is there twice: one login is one person",
                        login.subject,
                        login.issuer
                    );
                }
            }
            if !names.insert(&user.name) {
                bail!("user[{index}].name: `{}` is there twice", user.name);
            }
            if let Some(uid) = user.uid
                && !uids.insert(uid)
            {
                bail!("user[{index}].uid: {uid} is another user's: one uid is one person");
            }
        }
        Ok(())
    }

    /// The address agents use: no trailing slash.
    pub(crate) fn issuer(&self) -> String {
        let scheme = if self.listen.tls.is_some() { "https" } else { "http" };
        let own = || format!("{scheme}://{}", self.listen.address);
        self.listen.issuer.clone().unwrap_or_else(own).trim_end_matches('/').to_owned()
    }

    /// The built-in trust domain.
    pub(crate) fn trust_domain(&self) -> anyhow::Result<TrustDomain> {
        self.trust.domain.parse().map_err(|error| anyhow::anyhow!("trust.domain: {error}"))
    }

    /// How the token endpoint behaves.
    pub(crate) fn oauth(&self) -> anyhow::Result<OAuthOptions> {
        let (login, dpop_nonce) = (self.login.options(self)?, self.tokens.dpop_nonce);
        Ok(OAuthOptions { dpop_nonce, login, ..OAuthOptions::default() })
    }

    /// The people, as the broker knows them.
    pub(crate) fn known_users(&self) -> Vec<User> {
        let user = |entry: &UserEntry| User {
            name: entry.name.clone(),
            teams: entry.teams.clone(),
            logins: entry.logins.iter().map(LoginEntry::known).collect(),
        };
        self.users.iter().map(user).collect()
    }

    /// The directory of store, ledger and keys.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.root.join(&self.state.dir)
    }

    /// Where the key that seals at rest comes from, where it is not the file beside the store.
    pub(crate) fn kek(&self) -> anyhow::Result<Option<KekSource>> {
        let Some(text) = &self.state.kek else { return Ok(None) };
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => {
                Ok(Some(KekSource::File(self.root.join(path))))
            }
            Some(("env", name)) if !name.is_empty() => Ok(Some(KekSource::Env(name.to_owned()))),
            // What stands there may be the key itself: it is not repeated.
            _ => anyhow::bail!(
                "state.kek: write `file:PATH` or `env:NAME`, and never the key itself"
            ),
        }
    }

    /// The socket agents prove who they are on.
    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.root.join(&self.state.run_dir).join("agent.sock")
    }

    /// The socket operators work on.
    pub(crate) fn operator_socket(&self) -> PathBuf {
        self.root.join(&self.state.run_dir).join("operator.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> anyhow::Result<()> {
        toml::from_str::<Config>(text)?.check()
    }

    #[test]
    fn a_key_nobody_knows_is_refused_by_name() {
        let error = check("[listen]\nadress = \"127.0.0.1:1\"\n").unwrap_err().to_string();
        assert!(error.contains("adress"), "{error}");
    }

    #[test]
    fn tokens_never_travel_in_clear_beyond_loopback() {
        let error = check("[listen]\naddress = \"0.0.0.0:7480\"\n").unwrap_err().to_string();
        assert!(error.contains("[listen.tls]"), "{error}");
    }

    #[test]
    fn nonces_are_demanded_where_the_file_says_so_and_nowhere_else() {
        let read = |text| toml::from_str::<Config>(text).unwrap().oauth().unwrap();
        assert!(read("[tokens]\ndpop_nonce = true\n").dpop_nonce);
        assert!(!read("").dpop_nonce);
    }

    #[test]
    fn one_uid_is_one_person() {
        let text = "[[user]]\nname = \"a\"\nuid = 1\n[[user]]\nname = \"b\"\nuid = 1\n";
        assert!(check(text).unwrap_err().to_string().contains("user[1].uid"));
    }

    #[test]
    fn one_login_is_one_person() {
        let login = "logins = [{ issuer = \"https://idp.example\", subject = \"7\" }]";
        let text = format!("[[user]]\nname = \"a\"\n{login}\n[[user]]\nname = \"b\"\n{login}\n");
        assert!(check(&text).unwrap_err().to_string().contains("user[1].logins"));
    }

    #[test]
    fn agents_and_operators_are_different_people_outside_loopback() {
        let text = "[listen]\naddress = \"10.0.0.1:1\"\ntls = { certificate = \"c\", key = \"k\" }\n\
                    [trust]\nsame_user = true\n";
        assert!(check(text).unwrap_err().to_string().contains("same_user"));
    }

    #[test]
    fn an_issuer_beyond_this_machine_is_https() {
        for issuer in ["http://carnet.example.com", "http://10.0.0.1:7480", "http://0.0.0.0:7480"] {
            let error = check(&format!("[listen]\nissuer = \"{issuer}\"\n")).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains("listen.issuer") && error.contains("https"), "{error}");
        }
        for issuer in
            ["https://carnet.example.com", "http://127.0.0.1:9", "https://a.example:8443/"]
        {
            check(&format!("[listen]\nissuer = \"{issuer}\"\n")).unwrap();
        }
    }

    #[test]
    fn an_issuer_that_is_none_is_refused_before_anything_starts() {
        let tls = "tls = { certificate = \"c\", key = \"k\" }";
        for listen in [
            "issuer = \"carnet\"".to_owned(),
            "issuer = \"https://carnet.example.com/agents\"".to_owned(),
            "issuer = \"https://Carnet.example.com\"".to_owned(),
            "issuer = \"https://carnet.example.com:443\"".to_owned(),
            "issuer = \"ftp://carnet.example.com\"".to_owned(),
            "address = \"127.0.0.1:0\"".to_owned(),
            format!("address = \"0.0.0.0:7480\"\n{tls}"),
            format!("issuer = \"http://127.0.0.1:7480\"\n{tls}"),
        ] {
            let error = check(&format!("[listen]\n{listen}\n")).err();
            let error = format!("{:#}", error.unwrap_or_else(|| panic!("{listen} was accepted")));
            assert!(error.contains("listen."), "{error}");
        }
    }

    #[test]
    fn a_team_is_named_as_an_owner_can_name_it() {
        let text = "[[user]]\nname = \"a\"\nteams = [\"Finance Dept\"]\n";
        assert!(check(text).unwrap_err().to_string().contains("user[0].teams"));
    }
}
