//! The order of things, as the kernel saw it: the record is on the disk before the first byte of the
//! call leaves for the server.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::strace::{Call, calls, port};
use super::work::{self, Approve};
use super::world::{Start, Template};
use super::{Case, Verdict};
use crate::process;

/// What is traced: everything that writes, syncs or sends, and where it connects to.
const TRACED: &str =
    "trace=fdatasync,fsync,sync_file_range,pwrite64,pwritev,write,writev,sendto,sendmsg,connect";
/// How much of each buffer is kept: a whole record, and a whole request.
const TEXT_BYTES: &str = "65536";

/// One traced call of each kind.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("traced: a counted write is on the disk before it is forwarded", |template| {
            traced(template, "issue_refund")
        }),
        Case::new(
            "traced: a write that is not counted is on the disk before it is forwarded",
            |template| traced(template, "send_message"),
        ),
    ]
}

fn traced(template: &Template, tool: &str) -> anyhow::Result<Verdict> {
    if let Err(why) = find_strace() {
        return Ok(Verdict::Skipped(why));
    }
    let mut world = template.world(tool)?;
    let task = work::open(&world, Approve::Never)?;
    world.stop()?;
    let file = world.dir().join("strace");
    // With -D Carnet is our child and strace is not: killing ours ends both.
    let words =
        ["strace", "-D", "-f", "-y", "-s", TEXT_BYTES, "-e", TRACED, "-e", "signal=none", "-o"];
    let mut under: Vec<String> = words.map(str::to_owned).into();
    under.push(file.display().to_string());
    let start = Start { under, ..Start::default() };
    if let Err(error) = world.start(&start) {
        let log = world.log();
        return match log.contains("ptrace") {
            true => Ok(Verdict::Skipped(format!("nothing can be traced here: {log}"))),
            false => Err(error),
        };
    }
    let mut agent = world.agent(&task)?;
    let outcome = match tool {
        "issue_refund" => work::refund(&mut agent, "traced")?,
        _ => work::message(&mut agent, "traced")?,
    };
    work::done(&outcome)?;
    agent.end();
    world.stop()?;
    check(&whole_trace(&file)?, tool, template.desk_port())?;
    Ok(Verdict::Held)
}

/// The record's write, its sync's end, the first byte of the call: in this order, in both files.
fn check(text: &str, tool: &str, desk_port: u16) -> anyhow::Result<()> {
    let calls = calls(text)?;
    let forwarded = first_byte(&calls, tool, desk_port)?;
    let action = format!("desk.tool.{tool}");
    let record = calls
        .iter()
        .find(|call| is_write_to(call, "/ledger/seg/") && holds(call, &[&action, "permit"]))
        .context("the permit was never written to the ledger")?;
    ensure!(record.ended < forwarded, "the call left before its permit was written");
    let segment = synced_after(&calls, record).context("the permit was never synced")?;
    ensure!(
        segment < forwarded,
        "the call left on line {} and the permit was on the disk on line {}",
        forwarded + 1,
        segment + 1
    );
    // The sealed values of the same batch lie beside it, and count as much.
    let mut beside = calls.iter().filter(|call| is_write_to(call, "/ledger/sidecar/"));
    let last = beside.rfind(|call| call.began < forwarded);
    let sealed = last.context("no sealed values were written before the call left")?;
    let sidecar = synced_after(&calls, sealed).context("the sealed values were never synced")?;
    ensure!(sidecar < forwarded, "the call left before its sealed values were on the disk");
    Ok(())
}

/// The line on which the first byte of the call's request leaves for the server.
fn first_byte(calls: &[Call], tool: &str, desk_port: u16) -> anyhow::Result<usize> {
    let sockets: Vec<&str> = calls
        .iter()
        .filter(|call| call.name == "connect" && port(call) == Some(desk_port))
        .map(|call| call.on.as_str())
        .collect();
    ensure!(!sockets.is_empty(), "Carnet never connected to the server");
    let sends: Vec<&Call> =
        calls.iter().filter(|call| is_send(call) && sockets.contains(&call.on.as_str())).collect();
    let at = sends
        .iter()
        .position(|call| holds(call, &["tools/call", tool]))
        .context("the call was never sent to the server")?;
    // Its head may have left in a call of its own.
    let (before, own) = (sends.get(..=at).unwrap_or_default(), sends.get(at));
    let own = own.context("the call was never sent to the server")?;
    let head = before.iter().rev().find(|call| call.on == own.on && call.args.contains("\"POST "));
    Ok(head.context("the call's request has no head")?.began)
}

fn is_send(call: &Call) -> bool {
    matches!(call.name.as_str(), "write" | "writev" | "sendto" | "sendmsg")
}

fn is_write_to(call: &Call, dir: &str) -> bool {
    matches!(call.name.as_str(), "pwrite64" | "pwritev" | "write") && call.on.contains(dir)
}

fn holds(call: &Call, words: &[&str]) -> bool {
    words.iter().all(|word| call.args.contains(word))
}

/// The line on which the first sync of the same file that began after `write` ended, without error.
fn synced_after(calls: &[Call], write: &Call) -> Option<usize> {
    let sync = calls.iter().find(|call| {
        matches!(call.name.as_str(), "fdatasync" | "fsync")
            && call.on == write.on
            && call.began > write.ended
    })?;
    (sync.result == 0).then_some(sync.ended)
}

/// The trace, once whoever writes it is done with it.
fn whole_trace(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    for _ in 0..100 {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let now = String::from_utf8_lossy(&bytes).into_owned();
        if now == text && now.ends_with('\n') && now.contains("+++ exited") {
            return Ok(now);
        }
        text = now;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    anyhow::bail!("{} is not finished", file.display())
}

/// Strace, installed where that is possible.
fn find_strace() -> Result<(), String> {
    let is_there = || process::is_there("strace", &["-V"]);
    if is_there() {
        return Ok(());
    }
    let install = ["install", "-y", "-q", "strace"];
    let _ = crate::beside::finish(
        Command::new("apt-get").args(install),
        std::time::Duration::from_secs(180),
    );
    match is_there() {
        true => Ok(()),
        false => Err("strace is not installed, and could not be".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(order: [&str; 7]) -> String {
        order.iter().map(|line| format!("{line}\n")).collect()
    }

    const CONNECT: &str =
        "1 connect(9<socket:[7]>, {sa_family=AF_INET, sin_port=htons(80), x}, 16) = 0";
    const WRITE: &str = r#"2 pwrite64(5</s/ledger/seg/0.wal>, "desk.tool.pay permit", 20, 0) = 20"#;
    const SYNC: &str = "2 fdatasync(5</s/ledger/seg/0.wal>) = 0";
    const SEALED: &str = r#"3 pwrite64(6</s/ledger/sidecar/0.sealed>, "x", 1, 0) = 1"#;
    const SEALED_SYNC: &str = "3 fdatasync(6</s/ledger/sidecar/0.sealed>) = 0";
    const HEAD: &str = r#"1 write(9<socket:[7]>, "POST /mcp HTTP/1.1", 18) = 18"#;
    const BODY: &str = r#"1 write(9<socket:[7]>, "tools/call pay", 14) = 14"#;

    #[test]
    fn a_record_that_is_synced_first_is_in_order() {
        let text = told([CONNECT, WRITE, SEALED, SYNC, SEALED_SYNC, HEAD, BODY]);
        check(&text, "pay", 80).unwrap();
    }

    #[test]
    fn a_head_that_leaves_before_the_sync_is_too_early() {
        let text = told([CONNECT, WRITE, SEALED, HEAD, SYNC, SEALED_SYNC, BODY]);
        assert!(check(&text, "pay", 80).is_err());
    }

    #[test]
    fn sealed_values_that_are_synced_after_the_call_left_are_too_late() {
        let text = told([CONNECT, WRITE, SEALED, SYNC, HEAD, BODY, SEALED_SYNC]);
        assert!(check(&text, "pay", 80).unwrap_err().to_string().contains("sealed"));
    }
}
