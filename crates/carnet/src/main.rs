//! The one binary.
#![allow(dead_code)]
mod config;
mod serve;

fn main() {
    let _ = serve::up;
}
