//! The command line: its grammar, and which command does what.

mod agent;
mod approval;
mod configuration;
mod connect;
mod context;
mod delegation;
mod exit;
mod explain;
mod federation;
mod glob;
mod grant;
mod initialise;
mod intent_file;
mod key;
mod lease;
mod ledger;
mod lock;
mod login;
mod policy;
mod question;
mod resource;
mod review;
mod status;
mod suspension;
mod task;
mod token;
mod transport;
mod up;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::Client;
use crate::config::Config;
use crate::output::{Format, Output};

const AFTER_HELP: &str = "\
Examples:
  carnet init ./carnet          make a configuration
  carnet up --config ./carnet   run Carnet
  carnet approvals              see what waits for a person

Exit codes:
  0  done
  1  refused, or it failed
  2  called the wrong way
  3  what was named does not exist
  4  Carnet is not running, or cannot be reached
`carnet ledger verify` has its own: 0 whole, 1 tampered, 2 incomplete, 3 called the wrong way.

Environment:
  CARNET_CONFIG  where carnet.toml is, if --config is not given
  CARNET_LOG     what `carnet up` logs, such as `info` or `carnet_gateway=debug`
  NO_COLOR       no colours, if it is set";

/// Runtime access control for AI agents: authority that is named, purposeful, short and discharged.
#[derive(Debug, Parser)]
#[command(name = "carnet", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(disable_help_subcommand = true, propagate_version = true)]
pub(crate) struct Cli {
    /// Where carnet.toml is: its directory, or the file [default: $CARNET_CONFIG, else .]
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    /// The form of what is printed
    #[arg(long, global = true, value_enum, default_value_t)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(initialise::Init),
    #[command(subcommand)]
    Config(configuration::Configuration),
    Up(up::Up),
    Status(status::Status),
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    #[command(subcommand)]
    Resource(Box<resource::ResourceCommand>),
    #[command(subcommand)]
    Task(task::TaskCommand),
    #[command(subcommand)]
    Context(context::ContextCommand),
    Approvals(approval::Approvals),
    Approve(approval::Approve),
    Deny(approval::Deny),
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    #[command(subcommand)]
    Lease(lease::LeaseCommand),
    Lock(lock::SetLock),
    Unlock(lock::Unlock),
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    #[command(subcommand)]
    Keys(key::KeyCommand),
    Explain(explain::Explain),
    Login(login::Login),
    Connect(connect::Connect),
    Token(token::Token),
}

/// What every command is given.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The directory of carnet.toml, or the file.
    pub(crate) place: PathBuf,
    /// Where and how to print.
    pub(crate) output: Output,
}

impl Session {
    /// The configuration.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        Config::read(&self.place)
    }

    /// A client of the running Carnet.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.config()?.operator_socket()))
    }
}

/// Runs the command that the process was started with.
pub(crate) async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let place = cli.config.or_else(|| std::env::var_os("CARNET_CONFIG").map(PathBuf::from));
    let place = place.unwrap_or_else(|| PathBuf::from("."));
    let session = Session { place, output: Output::new(cli.output) };
    let is_verify = matches!(&cli.command, Command::Ledger(ledger) if ledger.is_verify());
    match cli.command.run(&session).await {
        Ok(code) => code,
        Err(error) => {
            report(&session, &error);
            ExitCode::from(if is_verify { ledger::VERIFY_USAGE } else { exit::code(&error) })
        }
    }
}

/// What clap has to say: help and versions are no errors.
fn misused(error: &clap::Error) -> ExitCode {
    // A reader that went away cannot be told.
    let _ = error.print();
    let words: Vec<_> = std::env::args().skip(1).collect();
    let is_json = words.iter().any(|word| word == "--output=json")
        || words.windows(2).any(|pair| pair == ["--output", "json"]);
    if is_json && error.use_stderr() {
        // Best effort: the exit code says it too.
        let usage = exit::usage(error.to_string().trim());
        let _ = Output::new(Format::Json).print(&exit::document(&usage), String::new);
    }
    let words: Vec<_> = words.into_iter().filter(|word| !word.starts_with('-')).collect();
    let is_verify = words.windows(2).any(|pair| pair == ["ledger", "verify"]);
    match error.use_stderr() {
        false => ExitCode::from(exit::DONE),
        true if is_verify => ExitCode::from(ledger::VERIFY_USAGE),
        true => ExitCode::from(exit::USAGE),
    }
}

fn report(session: &Session, error: &anyhow::Error) {
    if session.output.is_json() {
        // Best effort: the exit code says it too.
        let _ = session.output.print(&exit::document(error), String::new);
    }
    eprintln!("carnet: {error:#}");
}

impl Command {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init(init) => init.run(session),
            Self::Config(config) => config.run(session),
            Self::Up(up) => up.run(session).await,
            Self::Status(status) => status.run(session).await,
            Self::Agent(agent) => agent.run(session).await,
            Self::Resource(resource) => resource.run(session).await,
            Self::Task(task) => task.run(session).await,
            Self::Context(context) => context.run(session).await,
            Self::Approvals(approvals) => approvals.run(session).await,
            Self::Approve(approve) => approve.run(session).await,
            Self::Deny(deny) => deny.run(session).await,
            Self::Grant(grant) => grant.run(session).await,
            Self::Lease(lease) => lease.run(session).await,
            Self::Lock(lock) => lock.run(session).await,
            Self::Unlock(unlock) => unlock.run(session).await,
            Self::Policy(policy) => policy.run(session).await,
            Self::Ledger(ledger) => ledger.run(session).await,
            Self::Keys(keys) => keys.run(session).await,
            Self::Explain(explain) => explain.run(session).await,
            Self::Login(login) => login.run(session).await,
            Self::Connect(connect) => connect.run(session).await,
            Self::Token(token) => token.run(session).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn walk(command: &clap::Command, path: &str, see: &mut impl FnMut(&clap::Command, &str)) {
        let path = format!("{path} {}", command.get_name());
        see(command, path.trim());
        for child in command.get_subcommands() {
            walk(child, &path, see);
        }
    }

    #[test]
    fn the_grammar_holds_together() {
        Cli::command().debug_assert();
    }

    /// The words of an example: what is quoted is one, and behind three blanks it is explained.
    fn words(line: &str) -> Vec<String> {
        let line = line.trim().split("   ").next().unwrap_or_default();
        let parts = line.split('\'').enumerate();
        let words = parts.flat_map(|(n, part)| match n % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.collect()
    }

    #[test]
    fn every_command_has_an_example_that_it_understands() {
        let mut seen = 0;
        walk(&Cli::command(), "", &mut |command, path| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> =
                help.lines().filter(|line| line.trim_start().starts_with(path)).collect();
            assert!(!examples.is_empty(), "`{path}` has no example of itself");
            for example in examples {
                if let Err(error) = Cli::try_parse_from(words(example)) {
                    panic!("the example of `{path}` is not understood: {example}\n{error}");
                }
            }
            seen += 1;
        });
        assert!(seen > 30, "{seen}");
    }

    #[test]
    fn every_command_and_option_says_what_it_is_for() {
        walk(&Cli::command(), "", &mut |command, path| {
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {}", argument.get_id());
            }
        });
    }
}
