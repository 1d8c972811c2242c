//! `[context]` of carnet.toml: what is done when what tasks rest on changes, and who may tell of it.

use std::path::Path;

use anyhow::bail;
use carnet_broker::context::{KeySource, Transmitter};
use carnet_core::{ContextEvent, ContextRules, Reaction};
use schemars::JsonSchema;
use serde::Deserialize;

/// The most transmitters.
const TRANSMITTERS_MAX: usize = 32;

/// What is done when what tasks rest on changes: `record`, `suspend`, `close` or `lock`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Context {
    /// An agent's owner, environment, selectors, identities or standing intent are others.
    #[schemars(with = "Option<Word>")]
    pub agent_changed: Option<Reaction>,
    /// An agent is no longer registered.
    #[schemars(with = "Option<Word>")]
    pub agent_removed: Option<Reaction>,
    /// Nobody answers for an agent any more.
    #[schemars(with = "Option<Word>")]
    pub owner_gone: Option<Reaction>,
    /// A person's teams or logins are others.
    #[schemars(with = "Option<Word>")]
    pub user_changed: Option<Reaction>,
    /// A person is no longer known.
    #[schemars(with = "Option<Word>")]
    pub user_gone: Option<Reaction>,
    /// An identity provider ended a session.
    #[schemars(with = "Option<Word>")]
    pub session_revoked: Option<Reaction>,
    /// A credential is another, or taken away.
    #[schemars(with = "Option<Word>")]
    pub credential_change: Option<Reaction>,
    /// The risk is high now.
    #[schemars(with = "Option<Word>")]
    pub risk_level_high: Option<Reaction>,
    /// The risk is medium now.
    #[schemars(with = "Option<Word>")]
    pub risk_level_medium: Option<Reaction>,
    /// The risk is low now.
    #[schemars(with = "Option<Word>")]
    pub risk_level_low: Option<Reaction>,
    /// A device keeps to the rules no longer.
    #[schemars(with = "Option<Word>")]
    pub device_not_compliant: Option<Reaction>,
    /// It is less sure who somebody is.
    #[schemars(with = "Option<Word>")]
    pub assurance_decrease: Option<Reaction>,
    /// Who may tell of events.
    #[serde(rename = "transmitter")]
    pub transmitters: Vec<TransmitterEntry>,
}

/// The words of a rule, for the schema.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Word {
    /// It is recorded, and nothing else.
    Record,
    /// What depends on it is suspended, until an operator resumes it.
    Suspend,
    /// What depends on it is closed.
    Close,
    /// Whom it is about is locked, until an operator lifts the lock.
    Lock,
}

/// Who may tell of events.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransmitterEntry {
    /// Its name: the `iss` of its events, exactly.
    pub issuer: String,
    /// Its keys, a JSON Web Key Set: `file:PATH`, or an https address.
    pub keys: String,
    /// The only `aud` of its events [default: the issuer of Carnet].
    pub audience: Option<String>,
    /// The issuers, and trust domains as `spiffe://NAME`, besides itself whose subjects it may tell of.
    #[serde(default)]
    pub speaks_for: Vec<String>,
}

impl Context {
    /// The rules.
    pub(crate) fn rules(&self) -> ContextRules {
        let set = ContextEvent::ALL.into_iter();
        ContextRules::of(set.filter_map(|event| Some((event, self.reaction(event)?))))
    }

    fn reaction(&self, event: ContextEvent) -> Option<Reaction> {
        match event {
            ContextEvent::AgentChanged => self.agent_changed,
            ContextEvent::AgentRemoved => self.agent_removed,
            ContextEvent::OwnerGone => self.owner_gone,
            ContextEvent::UserChanged => self.user_changed,
            ContextEvent::UserGone => self.user_gone,
            ContextEvent::SessionRevoked => self.session_revoked,
            ContextEvent::CredentialChange => self.credential_change,
            ContextEvent::RiskLevelHigh => self.risk_level_high,
            ContextEvent::RiskLevelMedium => self.risk_level_medium,
            ContextEvent::RiskLevelLow => self.risk_level_low,
            ContextEvent::DeviceNotCompliant => self.device_not_compliant,
            ContextEvent::AssuranceDecrease => self.assurance_decrease,
        }
    }

    /// Everything that can be wrong beyond the form.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.transmitters.len() > TRANSMITTERS_MAX {
            bail!("context.transmitter: there are more than {TRANSMITTERS_MAX}");
        }
        for (index, entry) in self.transmitters.iter().enumerate() {
            let at = format!("context.transmitter[{index}]");
            if entry.issuer.is_empty() {
                bail!("{at}.issuer: write the `iss` of its events");
            }
            if self.transmitters.iter().take(index).any(|it| it.issuer == entry.issuer) {
                bail!("{at}.issuer: `{}` is there twice", entry.issuer);
            }
            entry
                .keys(Path::new("."))
                .map_err(|problem| anyhow::anyhow!("{at}.keys: {problem}"))?;
        }
        Ok(())
    }

    /// Who may tell of events. File paths are relative to `root`.
    pub(crate) fn transmitters(
        &self,
        root: &Path,
        issuer: &str,
    ) -> anyhow::Result<Vec<Transmitter>> {
        let transmitter = |entry: &TransmitterEntry| {
            Ok(Transmitter {
                issuer: entry.issuer.clone(),
                keys: entry.keys(root)?,
                audience: entry.audience.clone().unwrap_or_else(|| issuer.to_owned()),
                speaks_for: entry.speaks_for.clone(),
            })
        };
        self.transmitters.iter().map(transmitter).collect()
    }
}

impl TransmitterEntry {
    fn keys(&self, root: &Path) -> anyhow::Result<KeySource> {
        if let Some(path) = self.keys.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(KeySource::File(root.join(path)));
        }
        match self.keys.starts_with("https://") || self.keys.starts_with("http://") {
            true => Ok(KeySource::Url(self.keys.clone())),
            false => bail!("`{}`: write `file:PATH`, or an https address", self.keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_or_a_word_nobody_knows_is_refused_by_name() {
        for (text, named) in
            [("agent_moved = \"close\"", "agent_moved"), ("owner_gone = \"stop\"", "stop")]
        {
            let error = toml::from_str::<Context>(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_the_rule_and_the_rest_are_the_defaults() {
        let context: Context = toml::from_str("risk_level_medium = \"suspend\"").unwrap();
        let rules = context.rules();
        assert_eq!(rules.reaction(ContextEvent::RiskLevelMedium), Reaction::Suspend);
        assert_eq!(rules.reaction(ContextEvent::SessionRevoked), Reaction::Close);
        assert!(!rules.is_set(ContextEvent::SessionRevoked));
    }

    #[test]
    fn a_transmitter_is_named_once_and_says_where_its_keys_are() {
        let one = "[[transmitter]]\nissuer = \"https://idp.example\"\nkeys = \"file:idp.json\"\n";
        let context: Context = toml::from_str(one).unwrap();
        context.check().unwrap();
        let known = context.transmitters(Path::new("/etc/carnet"), "https://carnet.example");
        let known = known.unwrap();
        assert_eq!(known[0].keys, KeySource::File("/etc/carnet/idp.json".into()));
        assert_eq!(known[0].audience, "https://carnet.example");
        let twice: Context = toml::from_str(&format!("{one}{one}")).unwrap();
        assert!(twice.check().unwrap_err().to_string().contains("twice"));
        let none: Context = toml::from_str(&one.replace("file:", "")).unwrap();
        assert!(none.check().unwrap_err().to_string().contains("transmitter[0].keys"));
    }
}
