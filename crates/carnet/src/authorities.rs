//! Who else vouches, as `carnet.toml` names them: `[[trust.issuer]]`, `[[trust.foreign_domain]]` and
//! `[[trust.idp]]`. None of them grants a right.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use carnet_broker::trust::{AuthorityConfig, AuthorityKind, Source};
use carnet_identity::TrustDomain;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::Config;

/// The most authorities of one kind.
const AUTHORITIES_MAX: usize = 64;
/// The longest address.
const URL_BYTES_MAX: usize = 2048;

/// An OIDC issuer of workloads: a Kubernetes cluster, a CI system.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerEntry {
    /// The `iss` of its tokens, exactly.
    pub url: String,
    /// The only `aud` of its tokens, exactly. Without it: the address agents reach Carnet at.
    pub audience: Option<String>,
    /// Its keys: `file:PATH` or an https address. Without it: where its own metadata says.
    pub keys: Option<String>,
    /// Whom its server may be certified by, besides those the system trusts: a PEM file.
    pub ca: Option<PathBuf>,
}

/// Another SPIFFE trust domain.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForeignDomainEntry {
    /// The trust domain, such as `cluster.example`.
    pub name: String,
    /// Its bundle: `file:PATH` or an https address (profile `https_web`).
    pub bundle: String,
    /// Whom its server may be certified by, besides those the system trusts: a PEM file.
    pub ca: Option<PathBuf>,
}

/// An identity provider of people.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdpEntry {
    /// The `iss` of its tokens, exactly. Who its people are is in `logins` of each user.
    pub url: String,
    /// Its keys: `file:PATH` or an https address. Without it: where its own metadata says.
    pub keys: Option<String>,
    /// Whom its server may be certified by, besides those the system trusts: a PEM file.
    pub ca: Option<PathBuf>,
}

/// An authority under the name the file has for it.
struct Named<'a> {
    place: String,
    kind: AuthorityKind,
    name: &'a str,
    audience: Option<&'a str>,
    keys: Option<&'a str>,
    ca: Option<&'a Path>,
}

/// Everything about them that the file alone can tell.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    let all = named(config);
    for (n, it) in all.iter().enumerate() {
        check_one(config, it)?;
        if all.iter().take(n).any(|other| other.kind == it.kind && other.name == it.name) {
            bail!("{}: `{}` is there twice", it.place, it.name);
        }
    }
    let trust = &config.trust;
    let most = [trust.issuers.len(), trust.foreign_domains.len(), trust.idps.len()];
    if most.into_iter().any(|count| count > AUTHORITIES_MAX) {
        bail!("trust: at most {AUTHORITIES_MAX} authorities of one kind");
    }
    Ok(())
}

/// The authorities, with the certificates they are reached by.
pub(crate) fn read(config: &Config) -> anyhow::Result<Vec<AuthorityConfig>> {
    let issuer = config.issuer();
    let one = |it: &Named<'_>| -> anyhow::Result<AuthorityConfig> {
        Ok(AuthorityConfig {
            kind: it.kind,
            name: it.name.to_owned(),
            audience: it.audience.unwrap_or(&issuer).to_owned(),
            source: source(config, it)?,
            ca: it.ca.map_or(Ok(Vec::new()), |file| certificates(config, &it.place, file))?,
        })
    };
    named(config).iter().map(one).collect()
}

fn named(config: &Config) -> Vec<Named<'_>> {
    let trust = &config.trust;
    let issuers = trust.issuers.iter().enumerate().map(|(n, it)| Named {
        place: format!("trust.issuer[{n}]"),
        kind: AuthorityKind::Issuer,
        name: &it.url,
        audience: it.audience.as_deref(),
        keys: it.keys.as_deref(),
        ca: it.ca.as_deref(),
    });
    let domains = trust.foreign_domains.iter().enumerate().map(|(n, it)| Named {
        place: format!("trust.foreign_domain[{n}]"),
        kind: AuthorityKind::Domain,
        name: &it.name,
        audience: None,
        keys: Some(&it.bundle),
        ca: it.ca.as_deref(),
    });
    let idps = trust.idps.iter().enumerate().map(|(n, it)| Named {
        place: format!("trust.idp[{n}]"),
        kind: AuthorityKind::Idp,
        name: &it.url,
        audience: None,
        keys: it.keys.as_deref(),
        ca: it.ca.as_deref(),
    });
    issuers.chain(domains).chain(idps).collect()
}

fn check_one(config: &Config, it: &Named<'_>) -> anyhow::Result<()> {
    let place = &it.place;
    if it.kind == AuthorityKind::Domain {
        let domain: TrustDomain =
            it.name.parse().map_err(|error| anyhow::anyhow!("{place}.name: {error}"))?;
        if domain == config.trust_domain()? {
            bail!("{place}.name: `{domain}` is Carnet's own trust domain: its keys are made here");
        }
    } else {
        check_url(it.name).with_context(|| format!("{place}.url"))?;
        if it.name == config.issuer() {
            bail!("{place}.url: `{}` is Carnet itself: its keys are made here", it.name);
        }
    }
    if it.audience.is_some_and(|audience| !(1..=URL_BYTES_MAX).contains(&audience.len())) {
        bail!("{place}.audience: write one audience, or leave it out");
    }
    source(config, it).map(drop)
}

fn source(config: &Config, it: &Named<'_>) -> anyhow::Result<Source> {
    let Some(keys) = it.keys else { return Ok(Source::Discovery) };
    let key = if it.kind == AuthorityKind::Domain { "bundle" } else { "keys" };
    match keys.strip_prefix("file:") {
        Some("") => bail!("{}.{key}: `file:` names no file", it.place),
        Some(file) => Ok(Source::File(config.root.join(file))),
        None => {
            check_url(keys).with_context(|| format!("{}.{key}", it.place))?;
            Ok(Source::Url(keys.to_owned()))
        }
    }
}

/// An address in clear is one of this machine.
pub(crate) fn check_url(url: &str) -> anyhow::Result<()> {
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    let is_local = local.iter().any(|host| {
        url.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    let is_plain = url.len() <= URL_BYTES_MAX && url.bytes().all(|b| b.is_ascii_graphic());
    if !is_plain || !(url.starts_with("https://") || is_local) || url.contains(['@', '#', '?']) {
        let shown: String = url.chars().take(200).collect();
        bail!("`{shown}`: write an https address, without user, query or fragment");
    }
    Ok(())
}

pub(crate) fn certificates(
    config: &Config,
    place: &str,
    file: &Path,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let file = config.root.join(file);
    let problem = || format!("{place}.ca: {}: write a PEM file there", file.display());
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&file).and_then(|certificates| certificates.collect());
    let read = read.with_context(problem)?;
    if read.is_empty() {
        bail!("{place}.ca: {} has no certificate", file.display());
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        check(&config).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn authorities_are_named_exactly_and_once() {
        let good = "[[trust.issuer]]\nurl = \"https://idp.example/\"\n[[trust.issuer]]\nurl = \
                    \"https://idp.example\"\nkeys = \"file:k\"\naudience = \"a\"\n\
                    [[trust.foreign_domain]]\nname = \"cluster.example\"\nbundle = \"file:b\"\n\
                    [[trust.idp]]\nurl = \"https://idp.example\"\nkeys = \"https://k.example/k\"\n";
        checked(good).unwrap();
        let issuer = |rest: &str| format!("[[trust.issuer]]\nurl = {rest}\n");
        for (text, told) in [
            (issuer("\"https://a.example\"").repeat(2), "twice"),
            (issuer("\"http://127.0.0.1:7480\""), "Carnet itself"),
            (issuer("\"http://a.example\""), "https address"),
            (issuer("\"http://127.0.0.1.evil.example\""), "https address"),
            (issuer("\"https://u@a.example\""), "https address"),
            (issuer("\"https://a.example\"\nkeys = \"file:\""), "names no file"),
            (issuer("\"https://a.example\"\nkeys = \"ftp://x\""), "keys"),
            (issuer("\"https://a.example\"\nkey = \"x\""), "unknown field"),
            (
                "[[trust.foreign_domain]]\nname = \"carnet.local\"\nbundle = \"file:b\"".into(),
                "own trust domain",
            ),
            ("[[trust.foreign_domain]]\nname = \"A.example\"\nbundle = \"file:b\"".into(), "name"),
        ] {
            let error = checked(&text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_certificate_that_does_not_read_is_named() {
        let text = "[[trust.issuer]]\nurl = \"https://a.example\"\nca = \"gone.pem\"\n";
        let config: Config = toml::from_str(text).unwrap();
        let error = format!("{:#}", read(&config).err().unwrap());
        assert!(error.contains("trust.issuer[0].ca") && error.contains("gone.pem"), "{error}");
    }
}
