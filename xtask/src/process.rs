//! Running other programs from the repository root, plainly.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};

use crate::workspace;

/// What `cargo run` sets for us and would not set for a plain `cargo`: passed on, they would make
/// build scripts believe that something changed.
const OURS: [&str; 5] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_CRATE_NAME",
    "CARGO_BIN_NAME",
    "CARGO_PRIMARY_PACKAGE",
];

/// `program`, to be run from the repository root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || OURS.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command
}

/// The same cargo that runs this.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs to the end, showing what is printed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = line(command);
    let status = command.status().with_context(|| format!("`{line}` could not be started"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs to the end and returns what was printed on standard output; the rest is shown.
pub(crate) fn capture(command: &mut Command) -> anyhow::Result<String> {
    let line = line(command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("`{line}` could not be started"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed other than text"))
}

/// Runs to the end, showing what is printed while it is printed, and returns all of it with
/// whether the program succeeded.
pub(crate) fn watch(command: &mut Command) -> anyhow::Result<(String, bool)> {
    let line = line(command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{line}` could not be started"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let err = thread::spawn(move || err.map(|from| echo(from, |line| eprintln!("{line}"))));
    let mut printed = out.map(|from| echo(from, |line| println!("{line}"))).unwrap_or_default();
    if let Ok(Some(text)) = err.join() {
        printed.push_str(&text);
    }
    let status = child.wait().with_context(|| format!("`{line}` was lost"))?;
    Ok((printed, status.success()))
}

fn echo(from: impl Read, show: impl Fn(&str)) -> String {
    let mut all = String::new();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        show(&line);
        all.push_str(&line);
        all.push('\n');
    }
    all
}

/// Whether `program --version` can be run at all.
pub(crate) fn is_there(program: impl AsRef<OsStr>, args: &[&str]) -> bool {
    let quiet = command(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_an_error_that_names_it() {
        let error = run(command("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains('3'), "{error}");
        assert!(run(&mut command("no-such-program-at-all")).is_err());
    }

    #[test]
    fn everything_printed_is_returned_with_the_verdict() {
        let (text, is_ok) =
            watch(command("sh").args(["-c", "echo a; echo b >&2; exit 1"])).unwrap();
        assert!(text.contains("a\n") && text.contains("b\n") && !is_ok);
    }
}
