//! Carnet, the one binary: the command line, the configuration, and broker and gateway joined in
//! one process.
//!
//! `carnet up` runs the product. Every other command either works on files alone or is a client of
//! the operators' socket of a running Carnet. What this crate does *not* do: decide. That is the
//! core's, and policy's.

mod agent;
mod cli;
mod client;
mod config;
mod init;
mod output;
mod serve;
mod shown;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cli::main().await
}
