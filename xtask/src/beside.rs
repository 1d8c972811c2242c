//! Programs that run beside a check, and programs that run to their end within a bound of time.
//!
//! Nothing outlives the run: what runs beside it is ended with its value, and by the kernel where
//! the run itself is killed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::process;

/// How long a program may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a program may take to end once it was asked to.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often something is looked at again.
const PAUSE: Duration = Duration::from_millis(20);
/// The most that is read of what one program prints.
const PRINTED_BYTES_MAX: u64 = 64 << 20;

/// A program that runs beside the check and is ended with this value.
#[derive(Debug)]
pub(crate) struct Beside {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; -1 where a signal ended it.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// `program`, to be ended by the kernel if this process is killed before it could.
pub(crate) fn tied(program: &Path) -> Command {
    let words = ["--pdeathsig", "KILL", "--"];
    if process::is_there("setpriv", &[words[0], words[1], words[2], "true"]) {
        let mut command = process::command("setpriv");
        command.args(words).arg(program);
        return command;
    }
    process::command(program)
}

impl Beside {
    /// Starts a program whose complaints go to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let (sender, lines) = channel();
        let out = child.stdout.take();
        thread::spawn(move || {
            for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()).flatten() {
                // Nobody listens any more once the first line was read: the pipe is kept empty.
                let _ = sender.send(line);
            }
        });
        Ok(Self { name: name.to_owned(), child, lines })
    }

    /// The first line the program prints, or an error where none comes in time.
    pub(crate) fn first_line(&self) -> anyhow::Result<String> {
        match self.lines.recv_timeout(READY_WITHIN) {
            Ok(line) => Ok(line.trim().to_owned()),
            Err(RecvTimeoutError::Timeout) => bail!("{} is not ready: see its log", self.name),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("{} ended before it was ready: see its log", self.name)
            }
        }
    }

    /// Waits until `ready` says so.
    pub(crate) fn wait_until(
        &mut self,
        mut ready: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended before it was ready ({status}): see its log", self.name);
            }
            if ready()? {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        bail!("{} is not ready after {} s: see its log", self.name, READY_WITHIN.as_secs())
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the program, politely first.
    pub(crate) fn end(&mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(PAUSE);
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

/// Runs a program to its end, or ends it when its time is up.
pub(crate) fn finish(command: &mut Command, within: Duration) -> anyhow::Result<Ended> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{name}` could not be started"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = thread::spawn(move || text_of(out));
    let err = thread::spawn(move || text_of(err));
    let deadline = Instant::now() + within;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(PAUSE / 4),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("`{name}` was still running after {} s", within.as_secs());
            }
        }
    };
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    Ok(Ended { code: status.code().unwrap_or(-1), out, err })
}

fn text_of(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _ = from.take(PRINTED_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = tied(Path::new("sh"));
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_does_not_end_in_time_is_ended() {
        let began = Instant::now();
        let error = finish(&mut sh("exec sleep 600"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("still running"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn what_is_printed_comes_back_with_the_code() {
        let ended = finish(&mut sh("echo a; echo b >&2; exit 3"), READY_WITHIN).unwrap();
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (3, "a\n", "b\n"));
    }

    #[test]
    fn what_runs_beside_ends_with_its_value() {
        let mut command = sh("echo ready; exec sleep 600");
        let beside = Beside::start("sleep", &mut command, Path::new("/dev/null")).unwrap();
        assert_eq!(beside.first_line().unwrap(), "ready");
        let id = beside.id();
        drop(beside);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_program_that_ends_early_is_an_error_and_not_a_wait() {
        let beside = Beside::start("true", &mut sh("true"), Path::new("/dev/null")).unwrap();
        assert!(beside.first_line().unwrap_err().to_string().contains("ended before"));
    }
}
