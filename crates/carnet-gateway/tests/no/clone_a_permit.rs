//! One permit, one forward.
use carnet_core::Permit;

fn twice(permit: &Permit) -> Permit {
    Permit::clone(permit)
}

fn main() {}
