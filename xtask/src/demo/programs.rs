//! The programs the story needs, and how they are started, read and ended.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// How long a program may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the built programs are.
pub(super) struct Programs {
    pub(super) carnet: PathBuf,
    pub(super) desk: PathBuf,
    pub(super) agent: PathBuf,
    /// The folder with the story's policies and intent.
    pub(super) story: PathBuf,
}

/// Builds what the story needs.
pub(super) fn build() -> anyhow::Result<Programs> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    println!("building carnet and the support desk (the first time takes some minutes) …");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--package", "carnet", "--package", "support-desk", "--bins"])
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("the build failed: see above");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let debug = target.join("debug");
    Ok(Programs {
        carnet: debug.join("carnet"),
        desk: debug.join("support-desk"),
        agent: debug.join("support-agent"),
        story: root.join("examples/story"),
    })
}

/// A program that runs beside the story and is ended with it.
pub(super) struct Beside {
    name: &'static str,
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Beside {
    /// Starts a program whose complaints go to `log`.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { name, child, output })
    }

    /// The first line the program prints.
    pub(super) fn first_line(&mut self) -> anyhow::Result<String> {
        let output = self.output.as_mut().context("its output was read already")?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        match line.trim() {
            "" => bail!("{} ended before it was ready: see its log", self.name),
            line => Ok(line.to_owned()),
        }
    }

    /// Ends the program, politely first.
    pub(super) fn end(&mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// The agent: a process that takes steps on its input and answers each with a line.
pub(super) struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Agent {
    pub(super) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("the agent could not be started")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the agent has no output")?);
        Ok(Self { child, input, output })
    }

    /// One step, and what came of it.
    pub(super) fn step(&mut self, step: &Value) -> anyhow::Result<Value> {
        let input = self.input.as_mut().context("the agent's input is closed")?;
        writeln!(input, "{step}")?;
        input.flush()?;
        self.line()
    }

    /// The next line the agent prints.
    pub(super) fn line(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the agent said `{}`", line.trim()))
    }

    /// Every line until the agent ends.
    pub(super) fn lines(mut self) -> anyhow::Result<Vec<Value>> {
        self.input = None;
        let mut said = Vec::new();
        let mut line = String::new();
        while self.output.read_line(&mut line)? > 0 {
            said.push(serde_json::from_str(&line)?);
            line.clear();
        }
        self.child.wait()?;
        Ok(said)
    }

    /// Lets the agent finish.
    pub(super) fn end(mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// What a program printed, and its exit code.
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// Runs a program to its end.
pub(super) fn run(program: &Path, args: &[&OsStr]) -> anyhow::Result<Said> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} could not be started", program.display()))?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Waits until `ready` says so.
pub(super) fn wait_until(
    what: &str,
    mut ready: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_TIMEOUT;
    while Instant::now() < deadline {
        if ready()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("{what} did not come up in {} seconds: see its log", READY_TIMEOUT.as_secs())
}
