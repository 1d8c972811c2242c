//! One pass of the load client over one way, and what came out.

use std::fmt;

use serde::Deserialize;

/// The way a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the upstream itself.
    Direct,
    /// Through mcp-proxy.
    Proxy,
    /// Through Carnet.
    Carnet,
}

/// What the load client reports, as far as it is used.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Load {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) rps: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) first_error: Option<String>,
}

/// One pass.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pub(super) way: Way,
    pub(super) connections: usize,
    pub(super) load: Load,
    /// What what stands between took of the processor for each call, warm-up included.
    pub(super) cpu_us: Option<f64>,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Direct, Self::Proxy, Self::Carnet];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Proxy => "mcp-proxy",
            Self::Carnet => "carnet",
        }
    }

    /// All ways, another one first in each round.
    pub(super) fn rotated(round: u32) -> [Self; 3] {
        let mut ways = Self::ALL;
        ways.rotate_left(round as usize % Self::ALL.len());
        ways
    }
}

impl Pass {
    /// Whether something was measured, and every answer was right.
    pub(super) fn is_sound(&self) -> bool {
        self.load.errors == 0 && self.load.requests > 0
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { requests, errors, rps, p50_us, p99_us, first_error } = &self.load;
        let (way, connections) = (self.way.name(), self.connections);
        write!(
            f,
            "{way:<9} {connections:>2} conn  {rps:>7.0} req/s  p50 {p50_us:>6.0} µs  \
             p99 {p99_us:>6.0} µs  {requests} calls, {errors} errors"
        )?;
        if let Some(cpu_us) = self.cpu_us {
            write!(f, ", {cpu_us:.0} µs of processor a call")?;
        }
        first_error.as_ref().map_or(Ok(()), |error| write!(f, "; first: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_goes_first_once_in_three_rounds() {
        let first: Vec<Way> = (0..3).map(|round| Way::rotated(round)[0]).collect();
        assert_eq!(first, Way::ALL);
    }
}
