//! A process that is killed with its value, and read line by line within a bound of time.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How often a process is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// A process of ours.
#[derive(Debug)]
pub(super) struct Hurt {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Hurt {
    /// Starts a program whose complaints are added to `log`.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let (sender, lines) = channel();
        let (input, out) = (child.stdin.take(), child.stdout.take());
        thread::spawn(move || {
            for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()).flatten() {
                // Whoever does not listen any more still has its pipe kept empty.
                let _ = sender.send(line);
            }
        });
        Ok(Self { name, child, input, lines })
    }

    /// The process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line the process prints.
    pub(super) fn line(&self, within: Duration) -> anyhow::Result<String> {
        self.lines
            .recv_timeout(within)
            .map_err(|_| anyhow::anyhow!("{} said nothing, or ended", self.name))
    }

    /// Writes one line to the process.
    pub(super) fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Waits for the process to end by itself.
    pub(super) fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(PAUSE);
        }
        bail!("{} still runs after {} s", self.name, within.as_secs())
    }

    /// Kills the process, as `kill -9` does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Closes its input and lets it end; kills it where it does not.
    pub(super) fn dismiss(&mut self, within: Duration) {
        self.input = None;
        if self.wait(within).is_err() {
            self.kill();
        }
    }

    /// Sends a signal by its name.
    pub(super) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        match sent?.success() {
            true => Ok(()),
            false => bail!("{} could not be sent {name}", self.name),
        }
    }
}

impl Drop for Hurt {
    fn drop(&mut self) {
        self.kill();
    }
}
