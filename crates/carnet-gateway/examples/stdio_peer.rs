//! An MCP server on standard input and output, for the gateway's tests: it answers, and misbehaves
//! when it is asked to.
//!
//! `stdio_peer [ADDRESS]` connects to ADDRESS and holds the connection for as long as it lives, so
//! that a test sees its end; so does the child of its own that the tool `fork` starts.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let first = args.next();
    if first.as_deref() == Some("--linger") {
        return linger(&args.next().unwrap_or_default());
    }
    let _alive = first.as_deref().map(TcpStream::connect).transpose()?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        for answer in answers(&message, first.as_deref()) {
            out.write_all(answer.as_bytes())?;
            out.write_all(b"\n")?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Lives until it is killed: its parent's end is not its own.
fn linger(address: &str) -> std::io::Result<()> {
    let mut connection = TcpStream::connect(address)?;
    let mut nothing = [0];
    while connection.read(&mut nothing)? > 0 {}
    Ok(())
}

fn answers(message: &Value, address: Option<&str>) -> Vec<String> {
    let result = |result: Value| {
        vec![json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string()]
    };
    match message["method"].as_str().unwrap_or_default() {
        "initialize" => result(json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "peer", "version": "1" },
        })),
        "server/discover" => result(json!({ "capabilities": { "tools": {} } })),
        "tools/list" => result(json!({ "tools": tools() })),
        "tools/call" => call(message, address),
        _ => Vec::new(),
    }
}

fn tools() -> Value {
    let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
    let names =
        ["echo", "environment", "fork", "hang", "noise", "complain", "question", "leave", "who"];
    names.into_iter().map(tool).collect()
}

fn call(message: &Value, address: Option<&str>) -> Vec<String> {
    let text = |text: String| {
        let result = json!({ "content": [{ "type": "text", "text": text }] });
        json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string()
    };
    match message["params"]["name"].as_str().unwrap_or_default() {
        "echo" => vec![text(message["params"]["arguments"].to_string())],
        "environment" => {
            let mut names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
            names.sort_unstable();
            vec![text(names.join(" "))]
        }
        "fork" => match fork(address.unwrap_or_default()) {
            Ok(()) => vec![text("forked".into())],
            Err(error) => vec![text(error.to_string())],
        },
        "who" => vec![text(who())],
        "noise" => vec!["this is no JSON".into()],
        "complain" => {
            let secret = std::env::var("PEER_SECRET").unwrap_or_default();
            eprintln!("\u{1b}[31mthe secret is {secret}");
            eprintln!("\u{1b}[31mthat was all");
            vec![text(secret)]
        }
        "question" => {
            let question = json!({
                "jsonrpc": "2.0", "id": "q", "method": "roots/list", "params": {},
            });
            let changed = json!({
                "jsonrpc": "2.0", "method": "notifications/tools/list_changed",
            });
            vec![question.to_string(), changed.to_string(), text("asked".into())]
        }
        "leave" => std::process::abort(),
        _ => Vec::new(),
    }
}

/// Who it runs as, and what it may.
fn who() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kept = ["Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
    let lines = status.lines().filter(|line| kept.iter().any(|name| line.starts_with(name)));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

fn fork(address: &str) -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    let mut child = Command::new(own);
    child.args(["--linger", address]).stdin(Stdio::null()).stdout(Stdio::inherit());
    child.spawn().map(|_| ())
}
