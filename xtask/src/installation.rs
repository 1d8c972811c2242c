//! A Carnet of its own for one run: configured in a directory, started, and driven by its command
//! line like any other.
//!
//! Agent and operator are one user here, which a real installation never allows.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::beside::{self, Beside};

/// How long one command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(120);
/// The operator.
const OPERATOR: &str = "ana";

/// A running Carnet.
#[derive(Debug)]
pub(crate) struct Installation {
    program: PathBuf,
    dir: PathBuf,
    issuer: String,
    running: Beside,
}

/// A token to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) task: &'a str,
    pub(crate) resource: &'a str,
    /// The key it is to be bound to; a bearer token without one.
    pub(crate) key: Option<&'a Path>,
}

/// What one Carnet has that others have not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setting<'a> {
    /// Its certificate and its key: it speaks TLS with them.
    pub(crate) tls: Option<(&'a Path, &'a Path)>,
    /// What identity providers call the operator: an issuer and a subject.
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// More sections of its configuration.
    pub(crate) sections: &'a str,
    /// The port it listens on; one that is free without it.
    pub(crate) port: Option<u16>,
}

impl Installation {
    /// Starts `program` as the Carnet of `dir`, which must be empty.
    pub(crate) fn start(program: &Path, dir: &Path) -> anyhow::Result<Self> {
        Self::start_as(program, dir, &Setting::default())
    }

    /// The same, set as `setting` says.
    pub(crate) fn start_as(
        program: &Path,
        dir: &Path,
        setting: &Setting<'_>,
    ) -> anyhow::Result<Self> {
        let port = setting.port.map_or_else(free_port, Ok)?;
        let address = format!("127.0.0.1:{port}");
        let scheme = if setting.tls.is_some() { "https" } else { "http" };
        let issuer = format!("{scheme}://{address}");
        std::fs::write(dir.join("carnet.toml"), configuration(&address, setting)?)?;
        let mut command = beside::tied(program);
        command.arg("--config").arg(dir).arg("up");
        let running = Beside::start("carnet", &mut command, &dir.join("carnet.log"))?;
        let (program, dir) = (program.to_owned(), dir.to_owned());
        let mut installation = Self { program, dir, issuer, running };
        let status = &mut installation.command();
        status.arg("status");
        let is_up = || Ok(beside::finish(status, COMMAND_WITHIN)?.code == 0);
        installation.running.wait_until(is_up)?;
        Ok(installation)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    /// Where everything of it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who issues its tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where agents prove who they are.
    pub(crate) fn workload_socket(&self) -> PathBuf {
        self.dir.join("run/agent.sock")
    }

    /// Where agents reach `resource` on the read path.
    pub(crate) fn address(&self, resource: &str) -> String {
        format!("{}/read/mcp/{resource}", self.issuer)
    }

    /// Its command line.
    pub(crate) fn command(&self) -> Command {
        let mut command = beside::tied(&self.program);
        command.arg("--config").arg(&self.dir);
        command
    }

    /// The words of a command line of it, for programs that start one themselves.
    pub(crate) fn words(&self, args: &[&str]) -> Vec<String> {
        let own = [self.program.display().to_string(), "--config".into()];
        let dir = self.dir.display().to_string();
        own.into_iter().chain([dir]).chain(args.iter().map(|&arg| arg.to_owned())).collect()
    }

    /// What a command of the operator answers; it must succeed.
    pub(crate) fn operate(&self, args: &[&str]) -> anyhow::Result<Value> {
        let mut command = self.command();
        command.args(["--output", "json"]).args(args);
        let ended = beside::finish(&mut command, COMMAND_WITHIN)?;
        let line = args.join(" ");
        ensure!(ended.code == 0, "`carnet {line}` failed: {}{}", ended.out, ended.err);
        serde_json::from_str(&ended.out)
            .with_context(|| format!("`carnet {line}` printed {}", ended.out))
    }

    /// Activates the policy set in `files`: names with their text.
    pub(crate) fn activate(&self, files: &[(String, String)]) -> anyhow::Result<()> {
        let dir = self.dir.join("policy");
        for (name, text) in files {
            let file = dir.join(name);
            std::fs::create_dir_all(file.parent().unwrap_or(&dir))?;
            std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
        self.operate(&["policy", "activate", &dir.display().to_string()]).map(drop)
    }

    /// Registers an agent under the user this runs as.
    pub(crate) fn add_agent(&self, name: &str, more: &[&str]) -> anyhow::Result<()> {
        let uid = uid()?;
        let args = ["agent", "add", name, "--owner", "team:lab", "--uid", &uid];
        self.operate(&[&args, more].concat()).map(drop)
    }

    /// Opens a task with `intent`.
    pub(crate) fn open_task(&self, agent: &str, intent: &str) -> anyhow::Result<String> {
        let file = self.dir.join("intent.toml");
        std::fs::write(&file, intent)?;
        let file = file.display().to_string();
        let opened = self.operate(&["task", "open", "--agent", agent, "--intent", &file])?;
        let task = opened.get("task").and_then(Value::as_str);
        task.map(str::to_owned).with_context(|| format!("no task was opened: {opened}"))
    }

    /// A token of the read path.
    pub(crate) fn token(&self, wanted: Wanted<'_>) -> anyhow::Result<String> {
        let mut command = self.command();
        command.args(["token", "--path", "read"]);
        command.args(["--resource", wanted.resource, "--task", wanted.task]);
        if let Some(key) = wanted.key {
            command.arg("--dpop-key").arg(key);
        }
        let ended = beside::finish(&mut command, COMMAND_WITHIN)?;
        ensure!(ended.code == 0, "no token: {}{}", ended.out, ended.err);
        Ok(ended.out.trim().to_owned())
    }
}

/// An empty directory at `dir`, whatever was there before.
pub(crate) fn empty_dir(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => bail!("{} cannot be emptied: {error}", dir.display()),
    }
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn uid() -> anyhow::Result<String> {
    let ended = beside::finish(Command::new("id").arg("-u"), COMMAND_WITHIN)?;
    Ok(ended.out.trim().to_owned())
}

fn configuration(address: &str, setting: &Setting<'_>) -> anyhow::Result<String> {
    let Setting { tls, login, sections, .. } = setting;
    let tls = tls.map_or_else(String::new, |(certificate, key)| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n")
    });
    let logins = login.map_or_else(String::new, |(issuer, subject)| {
        format!("logins = [{{ issuer = \"{issuer}\", subject = \"{subject}\" }}]\n")
    });
    let uid = uid()?;
    Ok(format!(
        "[listen]\naddress = \"{address}\"\n{tls}\n\
         [trust]\ndomain = \"lab.carnet\"\nsame_user = true\n\n{sections}\n\
         [[user]]\nname = \"{OPERATOR}\"\nuid = {uid}\nteams = [\"lab\"]\n{logins}"
    ))
}
