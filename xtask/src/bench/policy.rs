//! What a verdict and a whole decision cost, with 100 policies and with 10,000.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::area::Report;
use crate::process;

/// What `bench-decide` prints on its last line, and what the report shows.
const FIGURES: [&str; 6] = [
    "authorize_p50_us_100",
    "authorize_p50_us_10000",
    "decide_p50_us_100",
    "decide_p50_us_10000",
    "flatness_10000_vs_100",
    "decide_flatness_10000_vs_100",
];

/// Prints each verdict's cost in detail, then measures both sizes of set in turns, in one run.
pub(crate) fn run() -> anyhow::Result<Report> {
    let detail = ["run", "--release", "-p", "carnet-policy", "--example", "policy_cost"];
    process::run(process::cargo().args(detail))?;
    let bench = ["run", "--release", "--quiet", "-p", "bench-decide"];
    let printed = process::capture(process::cargo().args(bench))?;
    print!("{printed}");
    report_of(&printed)
}

fn report_of(printed: &str) -> anyhow::Result<Report> {
    let last = printed.lines().last().context("bench-decide printed nothing")?;
    let figures: Value =
        serde_json::from_str(last).context("the last line of bench-decide is not JSON")?;
    let mut report = Report::default();
    for name in FIGURES {
        let value = figures.get(name).with_context(|| format!("bench-decide left out {name}"))?;
        ensure!(value.as_f64().is_some_and(|v| v > 0.0), "{name}: {value} is not a measurement");
        report.check(true);
        report.figure(name, value.clone());
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: &str) -> String {
        let members: Vec<String> = FIGURES.iter().map(|name| format!("\"{name}\":1.5")).collect();
        format!("words\n{{{}}}\n", members.join(",").replacen("1.5", value, 1))
    }

    #[test]
    fn a_figure_that_is_missing_or_zero_is_no_measurement() {
        assert!(report_of(&printed("2.5")).is_ok());
        assert!(report_of(&printed("0")).is_err());
        assert!(report_of(&printed("\"fast\"")).is_err());
        assert!(report_of("words\n{}\n").unwrap_err().to_string().contains("authorize_p50_us_100"));
        assert!(report_of("").is_err());
    }
}
