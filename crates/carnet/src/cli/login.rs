//! `carnet login`: a person says that it is them at the browser that shows a code.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Session, exit};
use crate::client::segment;
use crate::output::fields;
use crate::shown::escaped;

const AFTER_HELP: &str = "\
Examples:
  carnet login K7QWM-3FZ2A         see what it is for, and say yes
  carnet login K7QWM-3FZ2A --yes   say yes at once

Say yes only if you began this yourself, just now, in your own browser: whoever shows you the code of
theirs would act as you. A code is good once, for five minutes. What the client gets is asked in the
browser afterwards.";

/// Say that it is you at the browser that shows a code
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Login {
    /// The code the page shows
    #[arg(value_name = "CODE")]
    code: String,
    /// Do not ask again
    #[arg(long)]
    yes: bool,
}

impl Login {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let client = session.client()?;
        let path = format!("/v1/logins/{}", segment(&self.code));
        let asked: Value = client.get(&path).await?;
        session.output.say(&text(&asked))?;
        if !self.yes && !agrees()? {
            anyhow::bail!("not logged in: nothing was confirmed");
        }
        let confirmed: Value = client.post(&path, &json!({})).await?;
        session.output.print(&confirmed, || {
            format!("logged in as {}; go on in the browser", word(&confirmed, "person"))
        })?;
        exit::done()
    }
}

fn agrees() -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(exit::usage("nobody is there to ask: say --yes"));
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "Did you begin this yourself, in your own browser? [y/N] ")?;
    stderr.flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "yes"))
}

fn text(asked: &Value) -> String {
    let mut rows = vec![
        ("you are", word(asked, "person")),
        ("agent", word(asked, "agent")),
        ("client", word(asked, "client")),
        ("answers go to", word(asked, "answers_go_to")),
        ("resource", format!("{} ({} path)", word(asked, "resource"), word(asked, "path"))),
    ];
    if asked.get("client_calls_itself").is_some_and(Value::is_string) {
        rows.insert(3, ("calls itself", word(asked, "client_calls_itself")));
    }
    let task = asked.get("task").and_then(Value::as_str);
    rows.push(("task", task.map_or_else(|| "a new one of yours".to_owned(), escaped)));
    fields(0, &rows)
}

fn word(value: &Value, name: &str) -> String {
    escaped(value.get(name).and_then(Value::as_str).unwrap_or_default())
}
