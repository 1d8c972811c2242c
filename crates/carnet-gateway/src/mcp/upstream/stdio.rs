//! Upstreams that are child processes: one child a session, a cleared environment, bounded output,
//! and a process group that is killed whole.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use carnet_core::{Path, ResourceName, RunAs};
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use super::children::ChildSeat;
use super::router::Router;
use super::{ANSWER_BYTES_MAX, Messages, Outbound, Reply, UpstreamError, Watch, declined};
use crate::control::Credential;
use crate::mcp::codec::{Id, Message};

/// How much of a child's standard error is kept for the operator's log.
const STDERR_BYTES_MAX: u64 = 64 << 10;
/// How many messages may wait for a child that does not read.
const WAITING_LINES_MAX: usize = 64;
/// How long a message waits for its place among them.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what a child said is still read when it is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Where programs are looked for: the child inherits nothing else.
const CHILD_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// One session with one child process. It dies with this, its children too.
#[derive(Debug)]
pub(crate) struct StdioLink {
    lines: mpsc::Sender<Bytes>,
    router: Arc<Router>,
    group: Arc<Group>,
    watch: Watch,
}

/// What to run, from the registry, and the room it takes.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(super) command: &'a str,
    pub(super) args: &'a [String],
    pub(super) run_as: Option<RunAs>,
    pub(super) seat: ChildSeat,
}

/// A process group. It is killed once: afterwards its number may be another's.
#[derive(Debug)]
struct Group(Mutex<Option<Pid>>);

impl StdioLink {
    /// Starts the child. The command comes from the registry, never from a request.
    pub(crate) fn open(
        resource: &ResourceName,
        path: Path,
        program: Program<'_>,
        credential: Option<Credential>,
    ) -> Result<Self, UpstreamError> {
        let watch = Watch::new(credential.as_ref().map(|credential| &credential.secret));
        let mut child = spawn(&program, credential)?;
        let ended = |what: &str| UpstreamError::NotSent(format!("the process has no {what}"));
        let input = child.stdin.take().ok_or_else(|| ended("standard input"))?;
        let output = child.stdout.take().ok_or_else(|| ended("standard output"))?;
        let errors = child.stderr.take().ok_or_else(|| ended("standard error"))?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = Arc::new(Group(Mutex::new(pid)));
        let (lines, waiting) = mpsc::channel(WAITING_LINES_MAX);
        let router = Arc::new(Router::default());
        let reading = Reading {
            router: Arc::clone(&router),
            watch: watch.clone(),
            lines: lines.clone(),
            group: Arc::clone(&group),
            _seat: program.seat,
        };
        tokio::spawn(write_input(input, waiting));
        tokio::spawn(reading.run(output, child));
        tokio::spawn(read_errors(errors, watch.clone(), resource.clone(), path));
        Ok(Self { lines, router, group, watch })
    }

    pub(crate) async fn send(&self, outbound: Outbound<'_>) -> Result<Reply, UpstreamError> {
        let full = |_| UpstreamError::NotSent("the process does not read its input".into());
        let gone = |_| UpstreamError::NotSent("the process has closed its input".into());
        let place = tokio::time::timeout(WRITE_TIMEOUT, self.lines.reserve()).await;
        let place = place.map_err(full)?.map_err(gone)?;
        let reply = match &outbound.id {
            Some(id) => Reply::Messages(self.router.expect(id.clone())?),
            None => Reply::Accepted,
        };
        place.send(one_line(&outbound.bytes));
        Ok(reply)
    }

    pub(crate) fn listen(&self) -> Result<Messages, UpstreamError> {
        Ok(self.router.listen())
    }

    pub(crate) fn give_up(&self, id: &Id) {
        let notice = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id },
        });
        // A child that does not read its input will not read this either.
        let _ = self.lines.try_send(Bytes::from(notice.to_string()));
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.router.has_ended()
    }

    pub(crate) fn cut(&self) {
        self.group.kill();
    }
}

impl Drop for StdioLink {
    fn drop(&mut self) {
        self.group.kill();
    }
}

impl Group {
    fn kill(&self) {
        let pid = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn spawn(program: &Program<'_>, credential: Option<Credential>) -> Result<Child, UpstreamError> {
    let Program { command, args, run_as, .. } = program;
    let mut spawned = Command::new(command);
    spawned
        .args(*args)
        .env_clear()
        .env("PATH", CHILD_PATH)
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(Credential { secret, as_variable: Some(variable) }) = credential {
        spawned.env(variable, secret.expose_secret());
    }
    if let Some(RunAs { uid, gid }) = *run_as {
        // From root, this leaves every other group too, and every capability.
        spawned.gid(gid).uid(uid);
    }
    spawned.spawn().map_err(|error| {
        UpstreamError::NotSent(format!("`{command}` could not be started: {error}"))
    })
}

/// A message as one line. JSON may hold line breaks only between its tokens, where a space is as
/// good.
fn one_line(bytes: &Bytes) -> Bytes {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !bytes.iter().any(is_break) {
        return bytes.clone();
    }
    bytes.iter().map(|byte| if is_break(byte) { b' ' } else { *byte }).collect()
}

/// Messages go in one by one, each whole, whatever becomes of who sent it.
async fn write_input(mut input: ChildStdin, mut waiting: mpsc::Receiver<Bytes>) {
    while let Some(line) = waiting.recv().await {
        let written = async {
            input.write_all(&line).await?;
            input.write_all(b"\n").await?;
            input.flush().await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "the upstream's process takes no more input");
            return;
        }
    }
}

/// What reads a child's output.
struct Reading {
    router: Arc<Router>,
    watch: Watch,
    lines: mpsc::Sender<Bytes>,
    group: Arc<Group>,
    /// Given back once the child is dead.
    _seat: ChildSeat,
}

impl Reading {
    async fn run(self, output: impl AsyncRead + Unpin, mut child: Child) {
        // Another process may hold its output open when it is gone.
        let gone = async {
            let _ = child.wait().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let error = tokio::select! {
            error = self.read(output) => error,
            () = gone => UpstreamError::Ended("it exited".into()),
        };
        // Whatever ended the conversation ends the process, its children included.
        self.group.kill();
        let _ = child.wait().await;
        self.router.end(&error);
    }

    /// Reads until there is no more, and tells why.
    async fn read(&self, output: impl AsyncRead + Unpin) -> UpstreamError {
        let mut reader = BufReader::new(output);
        loop {
            match read_line(&mut reader).await {
                Ok(Some(line)) => {
                    if let Err(error) = self.route(line) {
                        return error;
                    }
                }
                Ok(None) => return UpstreamError::Ended("it closed its output".into()),
                Err(error) => return error,
            }
        }
    }

    fn route(&self, line: Bytes) -> Result<(), UpstreamError> {
        let Some(unclaimed) = self.router.route(self.watch.read(line, 200)?) else { return Ok(()) };
        match unclaimed.message {
            Message::Request(request) => {
                // Otherwise the child would wait for an answer nobody gives.
                let _ = self.lines.try_send(declined(&request));
            }
            Message::Notification(_) | Message::Response(_) => {}
        }
        Ok(())
    }
}

async fn read_line(
    reader: &mut (impl AsyncBufReadExt + Unpin),
) -> Result<Option<Bytes>, UpstreamError> {
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut *reader).take(ANSWER_BYTES_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', &mut line).await;
        let read = read.map_err(|error| UpstreamError::Ended(error.to_string()))?;
        if read == 0 {
            return Ok(None);
        }
        if line.len() > ANSWER_BYTES_MAX {
            return Err(UpstreamError::Answer("a message is too long".into()));
        }
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() {
            return Ok(Some(Bytes::copy_from_slice(trimmed)));
        }
    }
}

/// The child's standard error goes to the log, bounded and without the credential, and then
/// nowhere.
async fn read_errors(
    errors: impl AsyncRead + Unpin,
    watch: Watch,
    resource: ResourceName,
    path: Path,
) {
    let mut limited = BufReader::new(errors.take(STDERR_BYTES_MAX));
    let mut line = Vec::new();
    while let Ok(1..) = limited.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        let shown: String = match watch.repeats_credential(&line) {
            true => "[a line with the credential in it]".into(),
            false => text.trim_end().chars().take(500).flat_map(char::escape_debug).collect(),
        };
        tracing::debug!(%resource, %path, stderr = %shown, "the upstream's process says");
        line.clear();
    }
    let mut rest = limited.into_inner().into_inner();
    let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
}
