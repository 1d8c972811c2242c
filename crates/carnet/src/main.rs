//! Carnet, the one binary: the command line, the configuration, and broker and gateway joined in
//! one process.
//!
//! `carnet up` runs the product. Every other command either works on files alone or is a client of
//! the operators' socket of a running Carnet. What this crate does *not* do: decide. That is the
//! core's, and policy's.

mod agent;
mod authorities;
mod cli;
mod client;
mod config;
mod context;
mod init;
mod login;
mod output;
mod serve;
mod shield;
mod shown;

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = shield::forgo_privileges()
        .and_then(|()| Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?));
    match runtime {
        Ok(runtime) => runtime.block_on(cli::main()),
        Err(error) => {
            eprintln!("carnet: {error:#}");
            ExitCode::FAILURE
        }
    }
}
