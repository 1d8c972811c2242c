//! How a resource is reached and with which credentials, from what was typed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path as FilePath, PathBuf};

use carnet_core::{Path, RunAs, SecretRef, SecretSource, Transport};
use url::Url;

use super::exit;

/// The label of a resource whose paths share one upstream credential.
pub(crate) const UNSPLIT: &str = "unsplit";

/// Streamable HTTP at `url`.
pub(crate) fn http(url: &str) -> anyhow::Result<Transport> {
    let refused = |why: &str| exit::usage(format!("--url: `{url}` {why}"));
    let parsed = Url::parse(url).map_err(|error| refused(&format!("is no URL: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(refused("must be http://… or https://…"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(refused("has a credential in it: give it with --read-credential and its like"));
    }
    Ok(Transport::Http { url: url.to_owned() })
}

/// A child process that runs `words`, as the user it was given.
pub(crate) fn stdio(words: &[String], run_as: Option<RunAs>) -> anyhow::Result<Transport> {
    let Some((program, args)) = words.split_first() else {
        return Err(exit::usage("--stdio: write the command behind `--`"));
    };
    let path = find_program(program)
        .ok_or_else(|| exit::usage(format!("--stdio: there is no program `{program}`")))?;
    let command = path.to_str().map(str::to_owned);
    let command = command.ok_or_else(|| exit::usage("--stdio: the program's path is not UTF-8"))?;
    Ok(Transport::Stdio { command, args: args.to_vec(), run_as })
}

/// `UID` or `UID:GID`. Where no group is named, it is the one of the same number.
pub(crate) fn run_as(text: &str) -> Result<RunAs, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != 0 && *id != u32::MAX);
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    match (number(uid), number(gid)) {
        (Some(uid), Some(gid)) => Ok(RunAs { uid, gid }),
        _ => Err(format!("`{text}`: write UID or UID:GID, numbers above 0, which is root")),
    }
}

/// The program as a shell would find it, by its absolute path: later, nothing is searched.
fn find_program(program: &str) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        file.metadata()
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return std::path::absolute(program).ok().filter(is_program);
    }
    let path = std::env::var_os("PATH")?;
    let dirs = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    dirs.map(|dir| dir.join(program)).find(is_program)
}

/// `file:PATH` or `env:NAME`, and behind `=` the variable a child process gets it in.
pub(crate) fn secret(text: &str) -> Result<SecretRef, String> {
    let form = || {
        format!(
            "`{text}`: write file:PATH or env:NAME, and for a child process =VARIABLE behind it"
        )
    };
    let (place, as_variable) = match text.rsplit_once('=') {
        Some((place, variable)) if is_variable(variable) => (place, Some(variable.to_owned())),
        _ => (text, None),
    };
    let source = match place.split_once(':').ok_or_else(form)? {
        ("file", path) if !path.is_empty() => {
            let path =
                std::path::absolute(FilePath::new(path)).map_err(|error| error.to_string())?;
            SecretSource::File(path.to_str().ok_or_else(form)?.to_owned())
        }
        ("env", name) if is_variable(name) => SecretSource::Env(name.to_owned()),
        _ => return Err(form()),
    };
    Ok(SecretRef { source, as_variable })
}

fn is_variable(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(plain)
}

/// A child process is handed each secret in a variable; over HTTP there are none.
pub(crate) fn check_variables(
    transport: &Transport,
    credentials: &BTreeMap<Path, SecretRef>,
) -> anyhow::Result<()> {
    let is_child = matches!(transport, Transport::Stdio { .. });
    for (path, reference) in credentials {
        match (is_child, &reference.as_variable) {
            (true, None) => {
                return Err(exit::usage(format!(
                    "--{path}-credential: say which variable the program reads it from: \
                     add =VARIABLE behind it"
                )));
            }
            (false, Some(variable)) => {
                return Err(exit::usage(format!(
                    "--{path}-credential: over HTTP it is sent as a bearer token: \
                     leave out ={variable}"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether some path shares its credential with another, or there is nothing to tell them apart.
pub(crate) fn is_unsplit(credentials: &BTreeMap<Path, SecretRef>) -> bool {
    let sources: Vec<&SecretSource> = credentials.values().map(|it| &it.source).collect();
    let shared =
        sources.iter().enumerate().any(|(n, one)| sources.iter().skip(n + 1).any(|it| it == one));
    sources.is_empty() || shared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(paths: &[(Path, &str)]) -> BTreeMap<Path, SecretRef> {
        paths.iter().map(|(path, text)| (*path, secret(text).unwrap())).collect()
    }

    #[test]
    fn a_secret_is_a_reference_and_never_the_secret() {
        let file = secret("file:/run/secrets/desk").unwrap();
        assert_eq!(file.source, SecretSource::File("/run/secrets/desk".into()));
        let child = secret("env:DESK_READ=TOKEN").unwrap();
        assert_eq!(child.source, SecretSource::Env("DESK_READ".into()));
        assert_eq!(child.as_variable.as_deref(), Some("TOKEN"));
        for text in ["s3cr3t", "file:", "env:", "env:A B", "vault:x"] {
            assert!(secret(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_that_share_a_credential_are_unsplit() {
        let split = [(Path::Read, "env:A"), (Path::Write, "env:B")];
        assert!(!is_unsplit(&credentials(&split)));
        assert!(is_unsplit(&credentials(&[(Path::Read, "env:A"), (Path::Write, "env:A")])));
        // The same secret in two variables is the same secret.
        assert!(is_unsplit(&credentials(&[(Path::Read, "env:A=X"), (Path::Write, "env:A=Y")])));
        assert!(is_unsplit(&credentials(&[])));
        assert!(!is_unsplit(&credentials(&split[..1])));
    }

    #[test]
    fn a_credential_in_a_url_is_refused() {
        assert!(http("https://desk.example.com/mcp").is_ok());
        for url in ["https://u:p@desk.example.com/mcp", "ftp://x", "desk", "unix:/x"] {
            assert!(http(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_program_is_remembered_by_its_absolute_path() {
        let transport = stdio(&["sh".into(), "-c".into()], None).unwrap();
        let Transport::Stdio { command, args, .. } = transport else {
            panic!("not a child process");
        };
        assert!(command.starts_with('/') && command.ends_with("/sh"), "{command}");
        assert_eq!(args, ["-c"]);
        assert!(stdio(&["no-such-program".into()], None).is_err());
    }

    #[test]
    fn a_child_runs_as_a_user_and_a_group_and_never_as_root() {
        assert_eq!(run_as("1002"), Ok(RunAs { uid: 1002, gid: 1002 }));
        assert_eq!(run_as("1002:100"), Ok(RunAs { uid: 1002, gid: 100 }));
        for text in ["", "0", "0:100", "1002:0", "4294967295", "files", "1002:", "-1", "1:2:3"] {
            assert!(run_as(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_child_process_needs_a_variable_and_http_needs_none() {
        let child = stdio(&["sh".into()], None).unwrap();
        let http = http("https://desk.example.com/mcp").unwrap();
        let with = credentials(&[(Path::Read, "env:A=TOKEN")]);
        let without = credentials(&[(Path::Read, "env:A")]);
        assert!(check_variables(&child, &with).is_ok() && check_variables(&http, &without).is_ok());
        assert!(check_variables(&child, &without).is_err());
        assert!(check_variables(&http, &with).is_err());
    }
}
