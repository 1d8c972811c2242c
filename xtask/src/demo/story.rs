//! The story, act by act. Each act states what must happen; anything else ends the demo with an
//! error that names it.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::programs::{self, Agent, Beside, Programs, Said};
use super::telling::{asked, does, note, part, permitted, refused, typed};

/// The demo's directory and what runs in it.
pub(super) struct Stage<'a> {
    programs: &'a Programs,
    dir: PathBuf,
    issuer: String,
    _carnet: Beside,
    _desk: Beside,
}

impl<'a> Stage<'a> {
    /// Starts the support desk and Carnet in an empty directory.
    pub(super) fn set(programs: &'a Programs, keep: Option<&Path>) -> anyhow::Result<Self> {
        let dir = match keep {
            Some(dir) => dir.to_owned(),
            None => std::env::temp_dir().join(format!("carnet-demo-{}", std::process::id())),
        };
        std::fs::create_dir(&dir).with_context(|| {
            format!("{} must not exist yet and must be writable", dir.display())
        })?;
        let mut desk = start_desk(programs, &dir)?;
        let url = desk.first_line()?;
        std::fs::write(dir.join("desk.url"), &url)?;
        let port = free_port()?;
        let issuer = format!("http://127.0.0.1:{port}");
        write_config(&dir, port)?;
        let mut command = Command::new(&programs.carnet);
        command.arg("--config").arg(&dir).arg("up");
        let carnet = Beside::start("carnet", &mut command, &dir.join("carnet.log"))?;
        let stage = Self { programs, dir, issuer, _carnet: carnet, _desk: desk };
        programs::wait_until("carnet", || Ok(stage.carnet(&["status"])?.code == 0))?;
        Ok(stage)
    }

    /// Waits for ctrl-c.
    pub(super) fn stay(&self) -> anyhow::Result<()> {
        println!("\ncarnet and the support desk stay up; ctrl-c ends them.");
        println!("  export CARNET_CONFIG={}", self.dir.display());
        loop {
            std::thread::park();
        }
    }

    /// Ends what runs and removes the files, unless they are to be kept.
    pub(super) fn strike(self, keep: bool) -> anyhow::Result<()> {
        let dir = self.dir.clone();
        drop(self);
        if keep {
            println!("the demo's files are in {}", dir.display());
            return Ok(());
        }
        std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())
    }

    fn carnet(&self, args: &[&str]) -> anyhow::Result<Said> {
        let mut all: Vec<&OsStr> = vec!["--config".as_ref(), self.dir.as_os_str()];
        all.extend(args.iter().map(OsStr::new));
        programs::run(&self.programs.carnet, &all)
    }

    /// A command of an operator that must succeed, shown as typed.
    fn operator(&self, args: &[&str]) -> anyhow::Result<Value> {
        typed("ana", &format!("carnet {}", shown(args, &self.dir)));
        let mut all = vec!["--output", "json"];
        all.extend(args);
        let said = self.carnet(&all)?;
        ensure!(said.code == 0, "`carnet {}` failed: {}{}", args.join(" "), said.out, said.err);
        serde_json::from_str(&said.out)
            .with_context(|| format!("`carnet {}` printed {}", args.join(" "), said.out))
    }

    /// The agent behind `carnet connect`.
    fn connected(&self, mode: &[&str], task: &str) -> anyhow::Result<Agent> {
        let mut command = Command::new(&self.programs.agent);
        command.args(mode).arg("--stdio").arg(&self.programs.carnet);
        command.arg("--config").arg(&self.dir).args(["connect", "desk", "--task", task]);
        Agent::start(&mut command, &self.dir.join("agent.log"))
    }

    fn journal(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.dir.join("desk.journal")).unwrap_or_default();
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// Tells the story.
pub(super) fn tell(stage: &Stage<'_>) -> anyhow::Result<()> {
    println!(
        "\nA support desk, its agent, and Carnet between them. The agent and the desk are ordinary"
    );
    println!("MCP programs; neither knows Carnet. Everything listens on loopback only.");
    set_up(stage)?;
    without_a_task(stage)?;
    let task = with_a_task(stage)?;
    let token = read_path(stage, &task)?;
    let refund = refund(stage, &task)?;
    let injected = injection(stage, &task)?;
    end(stage, &task, &token)?;
    record(stage, &refund, &injected)
}

fn set_up(stage: &Stage<'_>) -> anyhow::Result<()> {
    part(
        1,
        "Ana sets Carnet up: policy, the agent, the desk, and a review of what the desk offers",
    );
    let policy = stage.programs.story.join("policy");
    stage.operator(&["policy", "activate", &policy.display().to_string()])?;
    let uid = programs::run(Path::new("id"), &["-u".as_ref()])?.out.trim().to_owned();
    stage.operator(&[
        "agent",
        "add",
        "support-agent",
        "--owner",
        "team:support",
        "--uid",
        &uid,
        "--environment",
        "demo",
        "--bearer-read",
    ])?;
    let url = std::fs::read_to_string(stage.dir.join("desk.url"))?;
    let read = format!("file:{}", stage.dir.join("desk-read.token").display());
    let write = format!("file:{}", stage.dir.join("desk-write.token").display());
    stage.operator(&[
        "resource",
        "add",
        "desk",
        "--url",
        &url,
        "--environment",
        "demo",
        "--read-credential",
        &read,
        "--write-credential",
        &write,
    ])?;
    stage.operator(&[
        "resource",
        "review",
        "desk",
        "--read",
        "get_*",
        "--read",
        "list_*",
        "--read",
        "search_*",
        "--write",
        "issue_refund",
        "--write",
        "send_message",
        "--write",
        "close_ticket",
        "--yes",
    ])?;
    note("Every tool is pinned by a hash of its whole definition and travels on one path. What");
    note("nobody reviewed cannot be called. The desk's two credentials stay inside Carnet.");
    Ok(())
}

fn without_a_task(stage: &Stage<'_>) -> anyhow::Result<()> {
    part(2, "The agent proves what it is, and identity alone grants nothing");
    typed("agent", "carnet token --resource desk --path read");
    let said = stage.carnet(&["token", "--resource", "desk", "--path", "read"])?;
    ensure!(said.code != 0, "a token was issued without a task");
    let why = said.err.lines().find(|line| line.contains("task_unknown"));
    let why = why.with_context(|| format!("the refusal does not name the task: {}", said.err))?;
    refused(why.trim());
    Ok(())
}

fn with_a_task(stage: &Stage<'_>) -> anyhow::Result<String> {
    part(3, "Ana opens a task for ticket T-1001 on behalf of sam, before the agent reads a word");
    let intent = stage.programs.story.join("ticket.toml").display().to_string();
    let opened = stage.operator(&[
        "task",
        "open",
        "--agent",
        "support-agent",
        "--subject",
        "sam",
        "--intent",
        &intent,
    ])?;
    let task = opened["task"].as_str().context("no task was opened")?.to_owned();
    permitted(&format!(
        "{task}: reads; one refund of 49.00 for O-5001, approved when used; two messages to C-100"
    ));
    Ok(task)
}

fn read_path(stage: &Stage<'_>, task: &str) -> anyhow::Result<PathBuf> {
    part(4, "It reads freely on the read path, and cannot write there");
    let token = stage.dir.join("agent-read.token");
    typed("agent", "carnet token --resource desk --path read --task … > token");
    let said = stage.carnet(&["token", "--resource", "desk", "--path", "read", "--task", task])?;
    ensure!(said.code == 0, "no token: {}", said.err);
    std::fs::write(&token, said.out.trim())?;
    let mut agent = Agent::start(&mut by_url(stage, &token), &stage.dir.join("agent.log"))?;
    let ticket = call(&mut agent, "get_ticket", json!({ "ticket_id": "T-1001" }))?;
    expect_ok(&ticket)?;
    permitted("the ticket is read, with the desk's read credential");
    expect_ok(&call(&mut agent, "search_orders", json!({ "customer_id": "C-100" }))?)?;
    permitted("the customer's orders are read");
    let write = call(&mut agent, "issue_refund", refund_arguments(4900))?;
    let why = expect_refused(&write, "wrong_path")?;
    refused(&why);
    agent.end();
    Ok(token)
}

fn refund(stage: &Stage<'_>, task: &str) -> anyhow::Result<String> {
    part(5, "It asks, a person approves exactly that call, and it goes through once");
    note(
        "From here the agent speaks through `carnet connect desk`, like any MCP client could: the",
    );
    note("bridge holds the identity, proves possession of its key and chooses the path.");
    let mut agent = stage.connected(&["script"], task)?;
    let first = call(&mut agent, "issue_refund", refund_arguments(4900))?;
    let why = expect_refused(&first, "a person must approve")?;
    asked(&why);
    let waiting = stage.operator(&["approvals"])?;
    let waiting = waiting.as_array().context("approvals are a list")?;
    ensure!(waiting.len() == 1, "one question waits, not {}", waiting.len());
    let id = waiting[0]["id"].as_str().context("an approval has an id")?;
    note(&format!(
        "asked: one use of {} with {}",
        waiting[0]["asked"]["one_use_of"], waiting[0]["from_agent"]["arguments"]
    ));
    let other = call(&mut agent, "issue_refund", refund_arguments(4950))?;
    let why = expect_refused(&other, "not_covered")?;
    refused(&format!("another amount: {why}"));
    stage.operator(&["approve", id])?;
    let done = call(&mut agent, "issue_refund", refund_arguments(4900))?;
    expect_ok(&done)?;
    permitted("the refund goes through");
    let again = call(&mut agent, "issue_refund", refund_arguments(4900))?;
    let why = expect_refused(&again, "")?;
    refused(&format!("the same call again: {why}"));
    let journal = stage.journal()?;
    ensure!(journal.len() == 1, "exactly one write reached the desk, not {}", journal.len());
    ensure!(journal[0]["credential"] == "write", "the write travelled with the write credential");
    note("the desk's own journal: exactly one refund, of 49.00, with the write credential");
    agent.end();
    last_decision(stage, "desk.tool.issue_refund", "permit")
}

fn injection(stage: &Stage<'_>, task: &str) -> anyhow::Result<String> {
    part(6, "A ticket carries an instruction for the agent, and the agent follows it");
    let hijacked = stage.connected(&["hijacked", "--ticket", "T-1002"], task)?;
    does("get_ticket T-1002, then does what its text says");
    let said = hijacked.lines()?;
    let (reading, followed) = said.split_first().context("the hijacked agent said nothing")?;
    expect_ok(reading)?;
    ensure!(!followed.is_empty(), "the ticket carries no instruction");
    for outcome in followed {
        let why = expect_refused(outcome, "Denied by Carnet")?;
        refused(&format!("{}: {why}", outcome["subject"].as_str().unwrap_or("?")));
    }
    ensure!(stage.journal()?.len() == 1, "something of the injection reached the desk");
    note("nothing reached the desk: another customer was never part of this task");
    last_decision(stage, "desk.tool.issue_refund", "deny")
}

fn end(stage: &Stage<'_>, task: &str, token: &Path) -> anyhow::Result<()> {
    part(7, "The task ends, and with it everything it gave");
    let closed = stage.operator(&["task", "close", task])?;
    ensure!(closed["instants"]["durable"] == true, "the close was not durable");
    let mut agent = Agent::start(&mut by_url(stage, token), &stage.dir.join("agent.log"))?;
    let late = call(&mut agent, "get_ticket", json!({ "ticket_id": "T-1001" }))?;
    ensure!(late["ok"] == false, "the token outlived its task: {late}");
    ensure!(late["http_status"] == 401, "the token is not refused as such: {late}");
    refused("401: the very same token, a moment later");
    agent.end();
    Ok(())
}

fn record(stage: &Stage<'_>, refund: &str, injected: &str) -> anyhow::Result<()> {
    part(8, "The record is verified, and two decisions are explained from it");
    stage.operator(&["ledger", "checkpoint"])?;
    let verified = stage.operator(&["ledger", "verify"])?;
    permitted(&format!("whole: {} leaves under a signed checkpoint", verified["leaves"]));
    for decision in [refund, injected] {
        typed("ana", &format!("carnet explain {decision}"));
        let said = stage.carnet(&["explain", decision])?;
        ensure!(said.code == 0, "the decision could not be explained: {}", said.err);
        for line in said.out.lines() {
            note(line);
        }
    }
    println!("\nEvery step above was as it should be. The book is in docs/, the policies and the");
    println!("intent of this story are in examples/story/.");
    Ok(())
}

fn call(agent: &mut Agent, tool: &str, arguments: Value) -> anyhow::Result<Value> {
    does(&format!("{tool} {arguments}"));
    agent.step(&json!({ "tool": tool, "arguments": arguments }))
}

fn refund_arguments(amount_cents: i64) -> Value {
    json!({ "order_id": "O-5001", "amount_cents": amount_cents, "reason": "Kettle arrived broken" })
}

fn expect_ok(outcome: &Value) -> anyhow::Result<()> {
    ensure!(outcome["ok"] == true, "it should have been permitted: {outcome}");
    Ok(())
}

/// The reason of a refusal that must name `code`.
fn expect_refused(outcome: &Value, code: &str) -> anyhow::Result<String> {
    ensure!(outcome["ok"] == false, "it should have been refused: {outcome}");
    let message = outcome["error"]["message"].as_str().unwrap_or_default().to_owned();
    ensure!(message.contains("Decision dec_"), "Carnet did not refuse it: {outcome}");
    ensure!(message.contains(code), "it should have been refused for {code}: {outcome}");
    Ok(message)
}

/// The newest decision on `action` with this answer, from the ledger.
fn last_decision(stage: &Stage<'_>, action: &str, answer: &str) -> anyhow::Result<String> {
    let said = stage.carnet(&["--output", "json", "ledger", "tail", "-n", "200"])?;
    let tail: Value = serde_json::from_str(&said.out).context("the ledger's tail")?;
    let leaves = tail["leaves"].as_array().context("the ledger's leaves")?;
    let found = leaves.iter().rev().find(|leaf| {
        leaf["kind"] == "decision"
            && leaf["header"]["action"] == action
            && leaf["header"]["decision"] == answer
    });
    match found.and_then(|leaf| leaf["id"].as_str()) {
        Some(id) => Ok(id.to_owned()),
        None => bail!("no {answer} of {action} is in the ledger"),
    }
}

fn by_url(stage: &Stage<'_>, token: &Path) -> Command {
    let mut command = Command::new(&stage.programs.agent);
    command.arg("script").arg("--url").arg(format!("{}/read/mcp/desk", stage.issuer));
    command.arg("--token-file").arg(token);
    command
}

/// A command line with the demo's directory shortened.
fn shown(args: &[&str], dir: &Path) -> String {
    args.join(" ").replace(&format!("{}/", dir.display()), "")
}

fn start_desk(programs: &Programs, dir: &Path) -> anyhow::Result<Beside> {
    let mut tokens = Vec::new();
    for path in ["read", "write"] {
        let file = dir.join(format!("desk-{path}.token"));
        std::fs::write(&file, format!("desk-{path}-{:032x}", nonce()?))?;
        tokens.push(format!("{path}={}", file.display()));
    }
    let mut command = Command::new(&programs.desk);
    command.args(["--listen", "127.0.0.1:0", "--require-bearer-file", &tokens.join(",")]);
    command.arg("--journal").arg(dir.join("desk.journal"));
    Beside::start("the support desk", &mut command, &dir.join("desk.log"))
}

fn nonce() -> anyhow::Result<u128> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn write_config(dir: &Path, port: u16) -> anyhow::Result<()> {
    let uid = programs::run(Path::new("id"), &["-u".as_ref()])?.out.trim().to_owned();
    let text = format!(
        "# The demo runs agent, operator and Carnet as one user; a real installation does not.\n\
         [listen]\naddress = \"127.0.0.1:{port}\"\n\n\
         [trust]\ndomain = \"demo.carnet\"\nsame_user = true\n\n\
         [[user]]\nname = \"ana\"\nuid = {uid}\nteams = [\"support\"]\n\n\
         [[user]]\nname = \"sam\"\nteams = [\"customers\"]\n"
    );
    std::fs::write(dir.join("carnet.toml"), text)?;
    Ok(())
}
