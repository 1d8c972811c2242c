//! How many records a second become durable, and how long one takes: closed-loop writers on the
//! disk under the given directory.
//!
//! `cargo run -p carnet-ledger --example append_rate -- DIR [WRITERS] [SECONDS] [sealed]`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carnet_core::Timestamp;
use carnet_ledger::{Entry, Kind, Ledger, LedgerConfig, LedgerKeys, RealDisk, Sealed};
use serde_json::json;

fn entry(number: u64, sealed: bool) -> Entry {
    let header = json!({
        "task": "task_0198c7f4b2a97f3e9d1c", "agent": "agent/support", "instance": "inst_0198c7f4",
        "action": "tickets.update", "path": "write", "resource": "mcp/tickets",
        "decision": "permit", "policies": ["permit/support", "forbid/none"], "revision": number,
        "policy_set": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    });
    let sealed = match sealed {
        true => vec![Sealed {
            name: "args".to_owned(),
            value: json!({"ticket": number, "to": "someone@example.org", "text": "x".repeat(200)}),
        }],
        false => Vec::new(),
    };
    Entry {
        kind: Kind::Decision,
        id: format!("dec_{number:020}"),
        at: Timestamp::from_us(1_800_000_000_000_000),
        header: header.as_object().cloned().unwrap_or_default(),
        sealed,
        subject: "user:alice".to_owned(),
        position: None,
        narrows: false,
    }
}

async fn writer(ledger: Ledger, number: u64, until: Instant, sealed: bool) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut count = number << 32;
    while Instant::now() < until {
        count += 1;
        let begin = Instant::now();
        if let Err(error) = ledger.append(entry(count, sealed)).await {
            eprintln!("{error}");
            break;
        }
        took.push(begin.elapsed());
    }
    took
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("name a directory")?);
    let writers: u64 = args.next().as_deref().unwrap_or("256").parse()?;
    let seconds: u64 = args.next().as_deref().unwrap_or("3").parse()?;
    let sealed = args.next().is_some();
    let config = LedgerConfig::new(dir.join("log"), dir.join("lock"), "carnet.example/log/bench");
    let (ledger, recovered) =
        Ledger::open(config, Arc::new(RealDisk), LedgerKeys::load_or_create(&dir.join("keys"))?)?;
    let begin = Instant::now();
    let until = begin + Duration::from_secs(seconds);
    let tasks: Vec<_> =
        (0..writers).map(|n| tokio::spawn(writer(ledger.clone(), n, until, sealed))).collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await?);
    }
    let elapsed = begin.elapsed().as_secs_f64();
    took.sort_unstable();
    let at =
        |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "{writers} writers, sealed {sealed}: {:.0} records/s, p50 {:?}, p99 {:?} ({} leaves before)",
        took.len() as f64 / elapsed,
        at(0.5),
        at(0.99),
        recovered.leaves,
    );
    ledger.close();
    Ok(())
}
