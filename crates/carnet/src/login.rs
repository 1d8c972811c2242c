//! How people come in with clients of their own, as `carnet.toml` says it: `[login]`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use carnet_broker::oauth::{LoginOptions, ProviderOptions};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::authorities::{certificates, check_url};
use crate::config::Config;

/// The longest name of a client.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// How people come in with clients of their own.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoginSection {
    /// The OpenID provider people log in with, by the `iss` of its tokens, exactly. Who its people are is
    /// in `logins` of each user. Without it there is `carnet login` alone.
    pub issuer: Option<String>,
    /// The client Carnet is at that provider.
    pub client_id: Option<String>,
    /// Whom its server may be certified by, besides those the system trusts: a PEM file.
    pub ca: Option<PathBuf>,
    /// Hosts within your own walls whose client documents are fetched too.
    pub client_hosts: Vec<String>,
}

impl LoginSection {
    /// Everything about it that the file alone can tell.
    pub(crate) fn check(&self, own_issuer: &str) -> anyhow::Result<()> {
        let (Some(issuer), Some(client_id)) = (&self.issuer, &self.client_id) else {
            if self.issuer.is_some() || self.client_id.is_some() || self.ca.is_some() {
                bail!("login: `issuer` and `client_id` belong together, and `ca` to both");
            }
            return Ok(());
        };
        check_url(issuer).context("login.issuer")?;
        if issuer == own_issuer {
            bail!("login.issuer: `{issuer}` is Carnet itself, which logs nobody in by itself");
        }
        let is_name = (1..=CLIENT_ID_BYTES_MAX).contains(&client_id.len())
            && client_id.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name {
            bail!("login.client_id: write the name the provider has for Carnet");
        }
        Ok(())
    }

    /// The same for the broker, with the certificates of the provider read.
    pub(crate) fn options(&self, config: &Config) -> anyhow::Result<LoginOptions> {
        let client_hosts = self.client_hosts.clone();
        let (Some(issuer), Some(client_id)) = (self.issuer.clone(), self.client_id.clone()) else {
            return Ok(LoginOptions { client_hosts, provider: None });
        };
        let ca = self.ca.as_ref();
        let ca = ca.map_or(Ok(Vec::new()), |file| certificates(config, "login", file))?;
        let provider = Some(ProviderOptions { issuer, client_id, ca });
        Ok(LoginOptions { client_hosts, provider })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        let section: LoginSection = toml::from_str(text).map_err(|error| error.to_string())?;
        section.check("https://carnet.example").map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_provider_is_named_whole_or_not_at_all() {
        checked("").unwrap();
        checked("issuer = \"https://idp.example/\"\nclient_id = \"carnet\"\nca = \"a\"").unwrap();
        for (text, told) in [
            ("issuer = \"https://idp.example\"", "belong together"),
            ("client_id = \"carnet\"", "belong together"),
            ("ca = \"ca.pem\"", "belong together"),
            ("issuer = \"http://idp.example\"\nclient_id = \"c\"", "login.issuer"),
            ("issuer = \"https://carnet.example\"\nclient_id = \"c\"", "Carnet itself"),
            ("issuer = \"https://idp.example\"\nclient_id = \"\"", "login.client_id"),
            ("client_secret = \"s\"", "unknown field"),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_certificate_of_the_provider_that_does_not_read_is_named() {
        let text =
            "[login]\nissuer = \"https://idp.example\"\nclient_id = \"c\"\nca = \"gone.pem\"\n";
        let config: Config = toml::from_str(text).unwrap();
        let error = format!("{:#}", config.login.options(&config).err().unwrap());
        assert!(error.contains("login.ca") && error.contains("gone.pem"), "{error}");
    }
}
