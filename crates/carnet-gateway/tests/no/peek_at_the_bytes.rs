//! The bytes are had by giving up the permit, and once.
use carnet_core::Permit;

fn peek(permit: &Permit) -> &[u8] {
    &permit.attempt.original
}

fn use_twice(permit: Permit) {
    let _ = permit.into_original();
    let _ = permit.into_original();
}

fn main() {}
