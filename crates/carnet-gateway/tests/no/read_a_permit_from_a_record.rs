//! A permit is no data: it cannot be read back from anywhere.
use carnet_core::Permit;

fn revive(text: &str) -> Permit {
    serde_json::from_str(text).unwrap()
}

fn main() {}
