//! The command line as a person or a script meets it: words in, text and exit codes out.

mod codes;
mod desk;
mod golden;
mod operate;
mod run;
mod starting;
