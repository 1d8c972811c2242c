//! The one place for everything that is done *to* Carnet: checks, tests, measurements, the demo.
//!
//! `cargo xtask test` is what continuous integration runs and what a change must pass; `cargo xtask
//! check` is its quick part. An *area* is a part of the product that is held against other
//! implementations (`interop`), measured (`bench`) or hurt on purpose (`fault`).
//!
//! What this crate does *not* do: it is no part of the product, and the product never needs it.

mod area;
mod bench;
mod beside;
mod demo;
mod deny;
mod fault;
mod installation;
mod interop;
mod peers;
mod process;
mod step;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What can be done to the repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything a change must pass; what continuous integration runs
    Test,
    /// The quick part of `test`: format, tidy, clippy
    Check,
    /// The rules no other tool knows: directions, lengths, names, links, leaks
    Tidy,
    /// The whole story on this machine
    Demo(demo::Demo),
    /// Holds an area against other implementations
    Interop {
        /// Which area
        area: String,
    },
    /// Measures an area
    Bench {
        /// Which area
        area: String,
        #[command(flatten)]
        extent: bench::Extent,
    },
    /// Hurts an area on purpose and looks what holds
    Fault {
        /// Which area
        area: String,
    },
}

fn main() -> ExitCode {
    match run(Xtask::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Test => Ok(test::run()),
        Command::Check => Ok(test::check()),
        Command::Tidy => tidy::run().map(|()| ExitCode::SUCCESS),
        Command::Demo(demo) => demo::run(&demo).map(|()| ExitCode::SUCCESS),
        Command::Interop { area } => area::run(area::Kind::Interop, interop::AREAS, &area),
        Command::Bench { area, extent } => {
            extent.ask();
            area::run(area::Kind::Bench, bench::AREAS, &area)
        }
        Command::Fault { area } => area::run(area::Kind::Fault, fault::AREAS, &area),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Xtask::command().debug_assert();
    }
}
