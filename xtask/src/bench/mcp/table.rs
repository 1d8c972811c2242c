//! The figures for people.

use super::pass::Way;
use super::{CONNECTIONS, Round, over};

/// Prints the median over the rounds for every way at every number of connections.
pub(super) fn print(rounds: &[Round]) {
    println!("\nmedians over {} rounds", rounds.len());
    println!(
        "  {:>5}  {:<9}  {:>7}  {:>8}  {:>8}  {:>9}  {:>9}  {:>9}",
        "conns", "way", "req/s", "p50 µs", "p99 µs", "added p50", "added p99", "cpu µs"
    );
    for connections in CONNECTIONS {
        for way in Way::ALL {
            println!("{}", line(rounds, way, connections));
        }
    }
    println!("  fdatasync p50 {:.0} µs", over(rounds, |round| round.fdatasync_us));
}

fn line(rounds: &[Round], way: Way, connections: usize) -> String {
    let figure =
        |of: fn(&super::Pass) -> f64| over(rounds, |round| round.figure(way, connections, of));
    let added = |of: fn(&super::Pass) -> f64| match way {
        Way::Direct => "–".to_owned(),
        _ => format!(
            "{:.0}",
            over(rounds, |round| {
                round.figure(way, connections, of) - round.figure(Way::Direct, connections, of)
            })
        ),
    };
    let cpu = figure(|pass| pass.cpu_us.unwrap_or(f64::NAN));
    let cpu = if cpu.is_nan() { "–".to_owned() } else { format!("{cpu:.0}") };
    format!(
        "  {connections:>5}  {:<9}  {:>7.0}  {:>8.0}  {:>8.0}  {:>9}  {:>9}  {cpu:>9}",
        way.name(),
        figure(|pass| pass.load.rps),
        figure(|pass| pass.load.p50_us),
        figure(|pass| pass.load.p99_us),
        added(|pass| pass.load.p50_us),
        added(|pass| pass.load.p99_us),
    )
}
