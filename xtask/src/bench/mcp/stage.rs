//! Everything a run has running, and the passes over it.

use std::cell::Cell;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::pass::{Load, Pass, Way};
use super::policies;
use super::programs::Programs;
use crate::beside::{self, Beside};
use crate::installation::{self, Installation, Wanted};

const AGENT: &str = "load";
const RESOURCE: &str = "echo";
/// What is open as long as the longest run takes.
const INTENT: &str = r#"purpose = "measure what a call costs"
deadline = "8h"

[[allow]]
action = "echo.tool.echo"
path = "read"
"#;
/// What a pass may take beyond what it measures: warm-up, introductions, leave.
const SPARE: Duration = Duration::from_secs(60);
/// Clock ticks a second, as the kernel counts in /proc for every program there is.
const TICKS_PER_S: f64 = 100.0;

/// The upstream and what stands before it.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    programs: &'a Programs,
    carnet: Installation,
    task: String,
    proxy: Beside,
    proxy_url: String,
    _upstream: Beside,
    upstream_url: String,
    passes: Cell<u32>,
}

impl<'a> Stage<'a> {
    /// Starts everything in `dir`, which must be empty.
    pub(super) fn set(programs: &'a Programs, dir: &Path) -> anyhow::Result<Self> {
        let log = dir.join("upstream.log");
        let upstream = Beside::start("upstream", &mut beside::tied(&programs.upstream), &log)?;
        let upstream_url = upstream.first_line()?;
        let (proxy, proxy_url) = start_proxy(&programs.proxy, dir, &upstream_url)?;
        let state = dir.join("carnet");
        installation::empty_dir(&state)?;
        let carnet = Installation::start(&programs.carnet, &state)?;
        let task = set_up(&carnet, &upstream_url)?;
        let passes = Cell::new(0);
        Ok(Self {
            programs,
            carnet,
            task,
            proxy,
            proxy_url,
            _upstream: upstream,
            upstream_url,
            passes,
        })
    }

    /// Where Carnet keeps its state.
    pub(super) fn dir(&self) -> &Path {
        self.carnet.dir()
    }

    /// One pass of the load client.
    pub(super) fn pass(&self, way: Way, connections: usize, seconds: u64) -> anyhow::Result<Pass> {
        let mut load = beside::tied(&self.programs.load);
        load.args(["--protocol", "2025-11-25"]);
        load.args(["--connections", &connections.to_string(), "--seconds", &seconds.to_string()]);
        let between = match way {
            Way::Direct => {
                load.args(["--url", &self.upstream_url, "--tool", "echo"]);
                None
            }
            Way::Proxy => {
                load.args(["--url", &self.proxy_url, "--tool", "echo/echo"]);
                Some(self.proxy.id())
            }
            Way::Carnet => {
                load.args(["--url", &self.carnet.address(RESOURCE), "--tool", "echo"]);
                self.show_credentials(&mut load)?;
                Some(self.carnet.id())
            }
        };
        let cpu_s = || between.map(cpu_s).transpose();
        let before = cpu_s()?;
        let ended = beside::finish(&mut load, Duration::from_secs(seconds) + SPARE)?;
        let after = cpu_s()?;
        let name = way.name();
        ensure!(ended.code == 0, "the load client failed on {name}: {}{}", ended.out, ended.err);
        let last = ended.out.lines().last().unwrap_or_default();
        let load: Load = serde_json::from_str(last).with_context(|| format!("{name}: {last}"))?;
        let calls = load.rps * (seconds + 1) as f64;
        let cpu_us = before.zip(after).map(|(before, after)| (after - before) * 1e6 / calls);
        Ok(Pass { way, connections, load, cpu_us })
    }

    /// A key and a token of its own for each pass: what one key may prove in two minutes is bounded.
    fn show_credentials(&self, load: &mut Command) -> anyhow::Result<()> {
        self.passes.set(self.passes.get() + 1);
        let key = self.dir().join(format!("pass-{}.key", self.passes.get()));
        let token = self.dir().join("pass.token");
        let wanted = Wanted { task: &self.task, resource: RESOURCE, key: Some(&key) };
        std::fs::write(&token, self.carnet.token(wanted)?)?;
        load.arg("--token-file").arg(&token).arg("--dpop-key").arg(&key);
        Ok(())
    }

    /// The most memory Carnet has had at once.
    pub(super) fn carnet_peak_mib(&self) -> anyhow::Result<f64> {
        let file = PathBuf::from(format!("/proc/{}/status", self.carnet.id()));
        let status = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.context("the kernel does not say what Carnet's memory was")? / 1024.0)
    }
}

/// Registers the agent and the upstream, and opens the task.
fn set_up(carnet: &Installation, upstream: &str) -> anyhow::Result<String> {
    carnet.activate(&policies::files())?;
    carnet.add_agent(AGENT, &[])?;
    carnet.operate(&["resource", "add", RESOURCE, "--url", upstream])?;
    let review = ["resource", "review", RESOURCE, "--read", "tool/echo", "--inside", "tool/echo"];
    carnet.operate(&[&review[..], &["--effect", "tool/echo=reversible", "--yes"]].concat())?;
    carnet.open_task(AGENT, INTENT)
}

fn start_proxy(program: &Path, dir: &Path, upstream: &str) -> anyhow::Result<(Beside, String)> {
    let port = installation::free_port()?;
    let config = dir.join("mcp-proxy.toml");
    let text = format!(
        "[proxy]\nname = \"bench\"\n\n[proxy.listen]\nhost = \"127.0.0.1\"\nport = {port}\n\n\
         [[backends]]\nname = \"echo\"\ntransport = \"http\"\nurl = \"{upstream}\"\n\n\
         [observability]\nlog_level = \"info\"\n"
    );
    std::fs::write(&config, text)?;
    let mut command = beside::tied(program);
    command.arg("--config").arg(&config);
    let mut proxy = Beside::start("mcp-proxy", &mut command, &dir.join("mcp-proxy.log"))?;
    proxy.wait_until(|| Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
    Ok((proxy, format!("http://127.0.0.1:{port}/")))
}

/// The processor time a process has had.
fn cpu_s(id: u32) -> anyhow::Result<f64> {
    let file = format!("/proc/{id}/stat");
    let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    let ticks = ticks_of(&text).with_context(|| format!("{file} is not as expected"))?;
    Ok(ticks as f64 / TICKS_PER_S)
}

/// User and system time, the 14th and 15th field; the second, a name, may hold anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 40 2 0 0 20 0 3 0 99 1 2";
        assert_eq!(ticks_of(stat), Some(42));
        assert!(cpu_s(std::process::id()).is_ok());
    }
}
