//! A permit is made by the decision core alone.
use carnet_core::{Attempt, Caller, Cover, Decision, Permit};

fn forge(attempt: Attempt, caller: Caller, cover: Cover, decision: Decision) -> Permit {
    Permit { attempt, caller, cover, decision }
}

fn main() {}
