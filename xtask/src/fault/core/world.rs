//! Where a case takes place: a Carnet, the support desk behind it, agents before it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::child::Hurt;
use crate::beside::{self, Ended};
use crate::installation::{empty_dir, free_port};
use crate::{process, workspace};

/// How long one command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(40);
/// How long a program may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long an agent waits for one answer, in seconds.
const ANSWER_WITHIN_S: u64 = 30;
/// The length of ledger files: as small as they may be, so that many cases cross the end of one.
const SEGMENT_BYTES: u64 = 128 << 10;

/// Where the programs are.
#[derive(Debug, Clone)]
struct Programs {
    carnet: PathBuf,
    desk: PathBuf,
    agent: PathBuf,
}

/// An installation that is set up and never hurt; every case begins with a copy.
#[derive(Debug)]
pub(super) struct Template {
    programs: Programs,
    dir: PathBuf,
    port: u16,
    desk_port: u16,
}

/// A Carnet to be hurt, and what is around it.
#[derive(Debug)]
pub(super) struct World<'a> {
    template: &'a Template,
    dir: PathBuf,
    carnet: Option<Hurt>,
    pub(super) desk: Option<Hurt>,
}

/// How a Carnet is started.
#[derive(Debug, Default, Clone)]
pub(super) struct Start {
    /// The points it is to pass, and at the last of them to die.
    pub(super) fault: Option<String>,
    /// What is put before its command line.
    pub(super) under: Vec<String>,
}

impl Template {
    /// Builds the programs, with fault points, and sets an installation up.
    pub(super) fn make() -> anyhow::Result<Self> {
        let programs = build()?;
        // Sockets are in it, and their names may not be long.
        let dir = std::env::temp_dir().join(format!("carnet-fault-{}", std::process::id()));
        empty_dir(&dir)?;
        let template = Self { programs, dir, port: free_port()?, desk_port: free_port()? };
        for path in ["read", "write"] {
            let file = template.dir.join(format!("{path}.token"));
            std::fs::write(file, format!("desk-{path}-{:032x}", nonce()?))?;
        }
        let home = template.dir.join("home");
        empty_dir(&home)?;
        std::fs::write(home.join("carnet.toml"), template.configuration()?)?;
        let mut world = World::at(&template, home);
        world.start_desk(template.desk_port)?;
        world.start(&Start::default())?;
        template.register(&world)?;
        world.stop()?;
        drop(world);
        Ok(template)
    }

    /// Where everything is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The port the registry says the desk listens on.
    pub(super) fn desk_port(&self) -> u16 {
        self.desk_port
    }

    /// A copy to be hurt. Nothing of it runs yet.
    pub(super) fn copy(&self, name: &str) -> anyhow::Result<World<'_>> {
        let dir = self.dir.join(name);
        empty_dir(&dir)?;
        copy_tree(&self.dir.join("home"), &dir)?;
        Ok(World::at(self, dir))
    }

    /// A copy to be hurt, with the desk and Carnet running.
    pub(super) fn world(&self, name: &str) -> anyhow::Result<World<'_>> {
        let mut world = self.copy(name)?;
        world.start_desk(self.desk_port)?;
        world.start(&Start::default())?;
        Ok(world)
    }

    /// Removes all files.
    pub(super) fn remove(self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }

    fn configuration(&self) -> anyhow::Result<String> {
        let uid = process::capture(process::command("id").arg("-u"))?;
        Ok(format!(
            "[listen]\naddress = \"127.0.0.1:{}\"\n\n\
             [trust]\ndomain = \"fault.carnet\"\nsame_user = true\n\n\
             [[user]]\nname = \"ana\"\nuid = {}\nteams = [\"support\"]\n\n\
             [[user]]\nname = \"sam\"\nteams = [\"customers\"]\n",
            self.port,
            uid.trim()
        ))
    }

    fn register(&self, world: &World<'_>) -> anyhow::Result<()> {
        let policy = workspace::root().join("examples/story/policy").display().to_string();
        world.operate(&["policy", "activate", &policy])?;
        let uid = process::capture(process::command("id").arg("-u"))?;
        let add = ["agent", "add", "support-agent", "--owner", "team:support"];
        let more = ["--environment", "demo", "--bearer-read", "--uid", uid.trim()];
        world.operate(&[&add[..], &more].concat())?;
        let url = format!("http://127.0.0.1:{}/mcp", self.desk_port);
        let [read, write] =
            ["read", "write"].map(|path| format!("file:{}/{path}.token", self.dir.display()));
        let add = ["resource", "add", "desk", "--url", &url, "--environment", "demo"];
        let more = ["--read-credential", &read, "--write-credential", &write];
        world.operate(&[&add[..], &more].concat())?;
        let read = ["--read", "get_*", "--read", "list_*", "--read", "search_*"];
        let write = ["--write", "issue_refund", "--write", "send_message", "--yes"];
        world.operate(&[&["resource", "review", "desk"][..], &read, &write].concat())?;
        Ok(())
    }
}

impl<'a> World<'a> {
    fn at(template: &'a Template, dir: PathBuf) -> Self {
        Self { template, dir, carnet: None, desk: None }
    }

    /// Where everything of it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts the support desk.
    pub(super) fn start_desk(&mut self, port: u16) -> anyhow::Result<()> {
        let dir = self.template.dir.display();
        let tokens = format!("read={dir}/read.token,write={dir}/write.token");
        let mut command = beside::tied(&self.template.programs.desk);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--require-bearer-file", &tokens]);
        command.arg("--journal").arg(self.dir.join("desk.journal"));
        let desk = Hurt::start("the desk", &mut command, &self.dir.join("desk.log"))?;
        let url = desk.line(READY_WITHIN)?;
        ensure!(url == format!("http://127.0.0.1:{port}/mcp"), "the desk says it is at {url}");
        self.desk = Some(desk);
        Ok(())
    }

    /// Starts Carnet and waits until it is up.
    pub(super) fn start(&mut self, start: &Start) -> anyhow::Result<()> {
        self.launch(start)?;
        let carnet = self.carnet.as_ref().context("Carnet does not run")?;
        let line = carnet.line(READY_WITHIN).with_context(|| self.log())?;
        ensure!(line == "carnet is up", "Carnet said `{line}`");
        Ok(())
    }

    /// Starts Carnet and does not wait.
    pub(super) fn launch(&mut self, start: &Start) -> anyhow::Result<()> {
        let carnet = &self.template.programs.carnet;
        let mut command = match start.under.split_first() {
            None => beside::tied(carnet),
            Some((program, words)) => {
                let mut command = beside::tied(Path::new(program));
                command.args(words).arg(carnet);
                command
            }
        };
        command.arg("--config").arg(&self.dir).arg("up");
        command.env("CARNET_LEDGER_SEGMENT_BYTES", SEGMENT_BYTES.to_string());
        command.env("CARNET_FAULT_POINT", start.fault.as_deref().unwrap_or_default());
        let log = self.dir.join("carnet.log");
        self.carnet = None;
        self.carnet = Some(Hurt::start("Carnet", &mut command, &log)?);
        Ok(())
    }

    /// Ends Carnet in good order.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut carnet) = self.carnet.take() else { return Ok(()) };
        carnet.signal("TERM")?;
        carnet.wait(COMMAND_WITHIN).map(drop)
    }

    /// Kills Carnet.
    pub(super) fn kill(&mut self) {
        self.carnet = None;
    }

    /// Waits for Carnet to die at the point it was started with.
    pub(super) fn wait_for_death(&mut self) -> anyhow::Result<()> {
        let carnet = self.carnet.as_mut().context("Carnet does not run")?;
        let status = carnet.wait(COMMAND_WITHIN).context("the point was never passed")?;
        ensure!(!status.success(), "Carnet ended in good order: {status}");
        self.carnet = None;
        Ok(())
    }

    /// What a command says that may fail.
    pub(super) fn try_command(&self, args: &[&str]) -> anyhow::Result<Ended> {
        let mut command = beside::tied(&self.template.programs.carnet);
        command.arg("--config").arg(&self.dir).args(["--output", "json"]).args(args);
        beside::finish(&mut command, COMMAND_WITHIN)
    }

    /// What a command of the operator answers; it must succeed.
    pub(super) fn operate(&self, args: &[&str]) -> anyhow::Result<Value> {
        let ended = self.try_command(args)?;
        let line = args.join(" ");
        ensure!(ended.code == 0, "`carnet {line}` failed ({}): {}", ended.code, ended.err.trim());
        serde_json::from_str(&ended.out)
            .with_context(|| format!("`carnet {line}` printed {}", ended.out))
    }

    /// An agent at work on `task`, through the bridge.
    pub(super) fn agent(&self, task: &str) -> anyhow::Result<Agent> {
        let Programs { carnet, agent, .. } = &self.template.programs;
        let mut command = beside::tied(agent);
        command.args(["script", "--timeout-s", &ANSWER_WITHIN_S.to_string(), "--stdio"]);
        command.arg(carnet).arg("--config").arg(&self.dir);
        command.args(["connect", "desk", "--task", task]);
        let agent = Hurt::start("the agent", &mut command, &self.dir.join("agent.log"))?;
        Ok(Agent(agent))
    }

    /// What the desk carried out.
    pub(super) fn journal(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.dir.join("desk.journal")).unwrap_or_default();
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Carnet's process, to be killed from elsewhere.
    pub(super) fn id(&self) -> anyhow::Result<u32> {
        Ok(self.carnet.as_ref().context("Carnet does not run")?.id())
    }

    /// The operators' socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("run/operator.sock")
    }

    /// The end of Carnet's log.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.join("carnet.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default();
        format!("Carnet's log ends with: {}", last.join(" | "))
    }
}

/// An agent: the desk's own client, which takes steps and answers each with a line.
#[derive(Debug)]
pub(super) struct Agent(Hurt);

impl Agent {
    /// Calls a tool; whatever comes of it is an outcome.
    pub(super) fn call(&mut self, tool: &str, arguments: Value) -> anyhow::Result<Value> {
        self.begin(tool, arguments)?;
        self.outcome()
    }

    /// Begins a call without waiting for what comes of it.
    pub(super) fn begin(&mut self, tool: &str, arguments: Value) -> anyhow::Result<()> {
        self.0.say(&json!({ "tool": tool, "arguments": arguments }).to_string())
    }

    /// What came of the call that was begun.
    pub(super) fn outcome(&mut self) -> anyhow::Result<Value> {
        let line = self.0.line(Duration::from_secs(ANSWER_WITHIN_S * 2))?;
        serde_json::from_str(&line).with_context(|| format!("the agent said `{line}`"))
    }

    /// Kills it; its bridge sees that nobody is there any more.
    pub(super) fn kill(mut self) {
        self.0.kill();
    }

    /// Lets it finish.
    pub(super) fn end(mut self) {
        self.0.dismiss(Duration::from_secs(5));
    }
}

fn build() -> anyhow::Result<Programs> {
    println!("building carnet with its fault points (the first time takes some minutes) …");
    let target = workspace::root().join("target/fault");
    let packages = ["--package", "carnet", "--package", "support-desk"];
    let mut build = process::cargo();
    build.args(["build", "--release", "--bins", "--features", "carnet/fault"]).args(packages);
    process::run(build.arg("--target-dir").arg(&target))?;
    let release = target.join("release");
    Ok(Programs {
        carnet: release.join("carnet"),
        desk: release.join("support-desk"),
        agent: release.join("support-agent"),
    })
}

/// Copies files and directories; the store's reserve and sockets are made again by themselves.
fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        let into = to.join(&name);
        if kind.is_dir() {
            std::fs::create_dir_all(&into)?;
            std::fs::set_permissions(&into, entry.metadata()?.permissions())?;
            copy_tree(&entry.path(), &into)?;
        } else if kind.is_file() && name != "store.db.reserve" {
            std::fs::copy(entry.path(), &into)?;
        }
    }
    Ok(())
}

fn nonce() -> anyhow::Result<u128> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Kills a process that a case started.
pub(super) fn kill(id: u32) -> anyhow::Result<()> {
    let killed = Command::new("kill").args(["-KILL", &id.to_string()]).status()?;
    ensure!(killed.success(), "process {id} could not be killed");
    Ok(())
}

/// Waits until nothing listens on a port any more.
pub(super) fn wait_until_free(port: u16) -> anyhow::Result<()> {
    for _ in 0..200 {
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("port {port} stays taken")
}
