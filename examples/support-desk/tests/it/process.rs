//! The two programs as a demo runner starts them.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, step: &str) -> Value {
        writeln!(self.stdin.as_mut().unwrap(), "{step}").unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_driver_steers_the_agent_line_by_line() {
    let mut desk = Running::start(env!("CARGO_BIN_EXE_support-desk"), &["--listen", "127.0.0.1:0"]);
    let url = desk.line();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/mcp"), "{url}");
    for protocol in ["2025-11-25", "2026-07-28"] {
        let arguments = ["script", "--url", &url, "--protocol", protocol];
        let mut agent = Running::start(env!("CARGO_BIN_EXE_support-agent"), &arguments);
        assert_eq!(agent.ask("nonsense")["error"]["kind"], "local");
        let ticket = agent.ask(r#"{"tool":"get_ticket","arguments":{"ticket_id":"T-1003"}}"#);
        assert_eq!(
            (&ticket["ok"], &ticket["structured"]["customer_id"]),
            (&true.into(), &"C-300".into())
        );
        let unknown = agent.ask(r#"{"tool":"get_ticket","arguments":{"ticket_id":"T-9"}}"#);
        assert_eq!(unknown["error"]["kind"], "tool");
        drop(agent.stdin.take());
        assert!(agent.child.wait().unwrap().success());
    }
}

#[test]
fn the_hijacked_agent_drives_a_server_it_starts_itself() {
    let desk = env!("CARGO_BIN_EXE_support-desk");
    let arguments = ["hijacked", "--ticket", "T-1002", "--stdio", desk, "--stdio"];
    let mut agent = Running::start(env!("CARGO_BIN_EXE_support-agent"), &arguments);
    let lines: Vec<Value> = (0..3).map(|_| serde_json::from_str(&agent.line()).unwrap()).collect();
    assert_eq!(lines[1]["structured"]["order_id"], "O-7001");
    assert_eq!(lines[2]["subject"], "send_message");
    assert!(agent.child.wait().unwrap().success());
}
