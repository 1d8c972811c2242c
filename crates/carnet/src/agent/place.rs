//! Which Carnet, as whom, for which task: the options every agent's command has.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use carnet_core::TaskId;
use carnet_identity::SpiffeId;
use clap::Args;

use crate::agent::issuer::Issuer;
use crate::config::Config;

const ISSUER: &str = "CARNET_ISSUER";
const SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";
const TASK: &str = "CARNET_TASK";

/// Options that say where Carnet is and what for it is asked.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PlaceOptions {
    /// The address of Carnet [env: CARNET_ISSUER] [default: that of the configuration].
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// The Workload API's socket [env: SPIFFE_ENDPOINT_SOCKET] [default: the configuration's].
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<String>,
    /// The task [env: CARNET_TASK] [default: the agent's standing task].
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<String>,
    /// The identity, where this process has more than one.
    #[arg(long, value_name = "ID")]
    pub(crate) spiffe_id: Option<String>,
}

/// Which Carnet, as whom, for which task.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Where Carnet is.
    pub(crate) issuer: Issuer,
    /// Where this process learns who it is.
    pub(crate) socket: PathBuf,
    /// The task, where one is named.
    pub(crate) task: Option<TaskId>,
    /// The identity, where one is named.
    pub(crate) spiffe_id: Option<SpiffeId>,
}

impl PlaceOptions {
    /// The place these options, the environment and, for what neither says, the configuration at
    /// `config` name.
    pub(crate) fn resolve(&self, config: &Path) -> anyhow::Result<Place> {
        self.resolve_with(config, |name| std::env::var(name).ok().filter(|it| !it.is_empty()))
    }

    fn resolve_with(
        &self,
        config: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Place> {
        let issuer = self.issuer.clone().or_else(|| variable(ISSUER));
        let socket = self.socket.clone().or_else(|| variable(SOCKET));
        let read = match (&issuer, &socket) {
            (Some(_), Some(_)) => None,
            _ => Some(Config::read(config).with_context(|| {
                format!("say where Carnet is: set {ISSUER} and {SOCKET}, or name its configuration with --config")
            })?),
        };
        let issuer = match (issuer, &read) {
            (Some(issuer), _) => issuer,
            (None, Some(config)) => config.issuer(),
            (None, None) => bail!("no issuer: set {ISSUER}"),
        };
        let socket = match (socket, &read) {
            (Some(socket), _) => socket_path(&socket)?,
            (None, Some(config)) => config.agent_socket(),
            (None, None) => bail!("no socket: set {SOCKET}"),
        };
        let task = self.task.clone().or_else(|| variable(TASK));
        let task = task.map(|task| task.parse::<TaskId>()).transpose().context("the task")?;
        let spiffe_id = self.spiffe_id.as_deref().map(str::parse::<SpiffeId>).transpose();
        let spiffe_id = spiffe_id.context("the SPIFFE ID")?;
        Ok(Place { issuer: issuer.parse()?, socket, task, spiffe_id })
    }
}

/// A socket as SPIFFE writes it (`unix:///run/agent.sock`), or its file path.
fn socket_path(text: &str) -> anyhow::Result<PathBuf> {
    let path = match text.strip_prefix("unix:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if text.contains("://") => {
            bail!("the socket `{text}` is not a Unix socket: write `unix:///run/carnet/agent.sock`")
        }
        None => text,
    };
    if !path.starts_with('/') && text.starts_with("unix:") {
        bail!("the socket `{text}` has no absolute file path: write three slashes after `unix:`");
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> PlaceOptions {
        PlaceOptions {
            issuer: Some("http://127.0.0.1:1".into()),
            socket: Some("/run/a.sock".into()),
            ..PlaceOptions::default()
        }
    }

    #[test]
    fn an_option_goes_before_the_environment_and_the_environment_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[listen]\naddress = \"127.0.0.1:3\"\n[state]\nrun_dir = \"/run/carnet\"\n";
        std::fs::write(dir.path().join("carnet.toml"), text).unwrap();
        let environment = |name: &str| (name == ISSUER).then(|| "http://127.0.0.1:2".to_owned());
        let issuer = |options: &PlaceOptions, set: bool| {
            let variable = |name: &str| if set { environment(name) } else { None };
            options.resolve_with(dir.path(), variable).unwrap().issuer.to_string()
        };
        assert_eq!(issuer(&options(), true), "http://127.0.0.1:1");
        assert_eq!(issuer(&PlaceOptions::default(), true), "http://127.0.0.1:2");
        assert_eq!(issuer(&PlaceOptions::default(), false), "http://127.0.0.1:3");
        let place = PlaceOptions::default().resolve_with(dir.path(), |_| None).unwrap();
        assert_eq!(place.socket, Path::new("/run/carnet/agent.sock"));
    }

    #[test]
    fn without_a_configuration_the_error_names_the_variables() {
        let dir = tempfile::tempdir().unwrap();
        let error = PlaceOptions::default().resolve_with(dir.path(), |_| None).unwrap_err();
        assert!(error.to_string().contains("CARNET_ISSUER"), "{error}");
        let place = options().resolve_with(dir.path(), |_| None).unwrap();
        assert!(place.task.is_none());
    }

    #[test]
    fn sockets_are_written_as_spiffe_does_or_as_file_paths() {
        for (text, path) in [
            ("unix:///run/a.sock", "/run/a.sock"),
            ("unix:/run/a.sock", "/run/a.sock"),
            ("/run/a.sock", "/run/a.sock"),
            ("run/a.sock", "run/a.sock"),
        ] {
            assert_eq!(socket_path(text).unwrap(), Path::new(path), "{text}");
        }
        for text in ["tcp://127.0.0.1:1", "unix://run/a.sock", "unix:a"] {
            assert!(socket_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_task_that_is_none_is_refused() {
        let options = PlaceOptions { task: Some("grant_1".into()), ..options() };
        assert!(options.resolve_with(Path::new("/nowhere"), |_| None).is_err());
    }
}
