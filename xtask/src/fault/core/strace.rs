//! Reads what strace wrote (`-f -y -o FILE`): the calls in the order in which they began and ended.

use std::collections::HashMap;

use anyhow::{Context as _, bail};

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The thread.
    pub(super) thread: u32,
    /// The call's name.
    pub(super) name: String,
    /// What its descriptor stands for, as strace says: a path, or `socket:[inode]`.
    pub(super) on: String,
    /// Everything between the parentheses.
    pub(super) args: String,
    /// What it returned; negative where it failed or never ended.
    pub(super) result: i64,
    /// The line on which it began.
    pub(super) began: usize,
    /// The line on which it ended.
    pub(super) ended: usize,
}

/// A call that has begun: its line, name and the first part of its arguments.
struct Begun {
    line: usize,
    name: String,
    args: String,
}

/// The calls in `text`, in the order in which they began.
pub(super) fn calls(text: &str) -> anyhow::Result<Vec<Call>> {
    let mut begun: HashMap<u32, Begun> = HashMap::new();
    let mut calls = Vec::new();
    for (line, said) in text.lines().enumerate() {
        let (thread, said) = said.split_once(' ').with_context(|| format!("no thread: {said}"))?;
        let thread: u32 = thread.parse().with_context(|| format!("no thread: {thread}"))?;
        let said = said.trim_start();
        // Signals and ends of threads are told too.
        if said.starts_with("+++") || said.starts_with("---") {
            continue;
        }
        if let Some(rest) = said.strip_prefix("<... ") {
            let (name, rest) = rest.split_once(" resumed>").context("a resumed call has a name")?;
            let Some(first) = begun.remove(&thread).filter(|first| first.name == name) else {
                bail!("line {}: {name} ends and never began", line + 1);
            };
            let whole = format!("{}{rest}", first.args);
            calls.push(call(thread, &first.name, &whole, (first.line, line))?);
            continue;
        }
        let (name, rest) = said.split_once('(').with_context(|| format!("no call: {said}"))?;
        match rest.strip_suffix("<unfinished ...>") {
            Some(args) => {
                let (name, args) = (name.to_owned(), args.trim_end().to_owned());
                begun.insert(thread, Begun { line, name, args });
            }
            None => calls.push(call(thread, name, rest, (line, line))?),
        }
    }
    calls.sort_by_key(|call| call.began);
    Ok(calls)
}

fn call(thread: u32, name: &str, rest: &str, lines: (usize, usize)) -> anyhow::Result<Call> {
    // The arguments may hold anything: the last `) = ` is the end.
    let (args, result) = rest
        .rsplit_once(") = ")
        .or_else(|| {
            let (args, result) = rest.rsplit_once(" = ")?;
            Some((args.trim_end().strip_suffix(')')?, result))
        })
        .with_context(|| format!("{name} has no result: {rest}"))?;
    let number = result.split([' ', '<']).next().unwrap_or_default();
    let on = args.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    Ok(Call {
        thread,
        name: name.to_owned(),
        on: on.map(|(on, _)| on.to_owned()).unwrap_or_default(),
        args: args.to_owned(),
        result: number.parse().unwrap_or(-1),
        began: lines.0,
        ended: lines.1,
    })
}

/// The port a `connect` goes to.
pub(super) fn port(call: &Call) -> Option<u16> {
    let (_, rest) = call.args.split_once("sin_port=htons(")?;
    rest.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"101 connect(9<socket:[77]>, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EINPROGRESS (Operation now in progress)
102 pwrite64(5</s/ledger/seg/000000000000.wal>, "a) = 3 \"x\"", 10, 4096) = 10
102 fdatasync(5</s/ledger/seg/000000000000.wal> <unfinished ...>
101 writev(9<socket:[77]>, [{iov_base="POST / HTTP/1.1\r\n", iov_len=17}], 1) = 17
102 <... fdatasync resumed>)              = 0
103 --- SIGTERM {si_signo=SIGTERM} ---
103 +++ exited with 0 +++
"#;

    #[test]
    fn a_call_that_was_interrupted_ends_where_it_resumed() {
        let calls = calls(TEXT).unwrap();
        let sync = calls.iter().find(|call| call.name == "fdatasync").unwrap();
        assert_eq!((sync.began, sync.ended, sync.result, sync.thread), (2, 4, 0, 102));
        assert_eq!(sync.on, "/s/ledger/seg/000000000000.wal");
        let sent = calls.iter().find(|call| call.name == "writev").unwrap();
        assert!(sent.began < sync.ended, "this one was sent too early");
    }

    #[test]
    fn what_is_written_cannot_be_taken_for_a_result() {
        let calls = calls(TEXT).unwrap();
        let written = calls.iter().find(|call| call.name == "pwrite64").unwrap();
        assert_eq!(written.result, 10);
        assert!(written.args.contains("a) = 3"));
    }

    #[test]
    fn a_socket_is_known_by_where_it_was_connected_to() {
        let calls = calls(TEXT).unwrap();
        let connected = calls.iter().find(|call| call.name == "connect").unwrap();
        assert_eq!((port(connected), connected.on.as_str()), (Some(8080), "socket:[77]"));
        assert_eq!(connected.result, -1);
    }

    #[test]
    fn an_end_without_a_beginning_is_refused() {
        assert!(calls("7 <... write resumed>) = 1\n").is_err());
        assert!(calls("no thread\n").is_err());
    }
}
