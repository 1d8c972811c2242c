//! The seats of the agents' listener: how many connections there are, of whom, and which one goes
//! first when all are taken.
//!
//! A connection that asked for nothing costs its owner nothing, so it must not be able to keep others
//! out: it is closed after a while, and before that as soon as somebody else wants its seat.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The most connections at once.
    pub connections_max: usize,
    /// The most connections of one address, unless it is loopback: there all agents share one.
    pub peer_connections_max: usize,
    /// How long a connection may take until its first request is whole.
    pub first_request: Duration,
    /// How long a connection may stay without a request.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            peer_connections_max: 1_024,
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// All seats.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, Row>,
}

#[derive(Debug)]
struct Row {
    peer: IpAddr,
    /// Requests that are being answered.
    busy: usize,
    has_asked: bool,
    idle_since: Instant,
    stop: CancellationToken,
}

/// One connection's seat. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    number: u64,
    stop: CancellationToken,
}

/// One request that is being answered. While it lives, its connection is not idle.
#[derive(Debug)]
pub(crate) struct Busy {
    seats: Seats,
    number: u64,
}

impl Seats {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Every change under this lock is one assignment: there is nothing half done to find.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for a connection from `peer`. Where there is none left, the connection that has been idle
    /// longest gives up its own; where nobody is idle there is no seat.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<Seat> {
        let peer = household(peer);
        let mut taken = self.taken();
        let of_peer = || taken.seats.values().filter(|row| row.peer == peer).count();
        if !peer.is_loopback() && of_peer() >= self.limits.peer_connections_max {
            taken.free_idle(Some(peer))?;
        } else if taken.seats.len() >= self.limits.connections_max {
            taken.free_idle(None)?;
        }
        let number = taken.next;
        taken.next = taken.next.wrapping_add(1);
        let stop = CancellationToken::new();
        let row =
            Row { peer, busy: 0, has_asked: false, idle_since: Instant::now(), stop: stop.clone() };
        taken.seats.insert(number, row);
        Some(Seat { seats: self.clone(), number, stop })
    }
}

impl Taken {
    /// Frees the seat that has been idle longest, of `peer` or of anybody.
    fn free_idle(&mut self, peer: Option<IpAddr>) -> Option<()> {
        let idle = self.seats.iter().filter(|(_, row)| row.busy == 0);
        let idle = idle.filter(|(_, row)| peer.is_none_or(|peer| row.peer == peer));
        let number = *idle.min_by_key(|(number, row)| (row.idle_since, **number))?.0;
        self.seats.remove(&number)?.stop.cancel();
        Some(())
    }
}

impl Seat {
    /// A request came.
    pub(crate) fn busy(&self) -> Busy {
        if let Some(row) = self.seats.taken().seats.get_mut(&self.number) {
            row.busy += 1;
            row.has_asked = true;
        }
        Busy { seats: self.seats.clone(), number: self.number }
    }

    /// Waits until the connection has to end: it was idle for too long, or its seat is needed.
    pub(crate) async fn is_over(&self) {
        loop {
            let look_again = {
                let taken = self.seats.taken();
                let Some(row) = taken.seats.get(&self.number) else { return };
                let limits = self.seats.limits;
                let limit = if row.has_asked { limits.idle } else { limits.first_request };
                let since = if row.busy == 0 { row.idle_since } else { Instant::now() };
                let now = Instant::now();
                if since + limit <= now {
                    return;
                }
                // A first request changes which limit holds: look again when that one could be over.
                (since + limit).min(now + limits.idle)
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep_until(look_again) => {}
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().seats.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(row) = self.seats.taken().seats.get_mut(&self.number) {
            row.busy = row.busy.saturating_sub(1);
            row.idle_since = Instant::now();
        }
    }
}

/// Whom an address is counted as: with IPv6 one customer has a whole network of them.
fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(connections_max: usize, peer_connections_max: usize) -> Seats {
        Seats::new(Limits { connections_max, peer_connections_max, ..Limits::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn one_address_cannot_take_the_seats_of_all() {
        let seats = seats(8, 2);
        let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let first = seats.take(one).unwrap();
        let second = seats.take(one).unwrap();
        let (_busy, _busy_too) = (first.busy(), second.busy());
        assert!(seats.take(one).is_none());
        assert!(seats.take(two).is_some());
        assert!(seats.take(ip("::ffff:192.0.2.1")).is_none(), "the same, written as IPv6");
    }

    #[tokio::test]
    async fn an_ipv6_network_counts_as_one_address() {
        let seats = seats(8, 1);
        let first = seats.take(ip("2001:db8::1")).unwrap();
        let _busy = first.busy();
        assert!(seats.take(ip("2001:db8::ffff")).is_none());
        assert!(seats.take(ip("2001:db8:0:1::1")).is_some());
    }

    #[tokio::test]
    async fn agents_of_this_machine_share_all_seats() {
        let seats = seats(3, 1);
        let all: Vec<Seat> = (0..3).filter_map(|_| seats.take(ip("127.0.0.1"))).collect();
        assert_eq!(all.len(), 3);
    }

    #[tokio::test]
    async fn who_is_idle_longest_gives_up_its_seat_and_who_is_busy_does_not() {
        let seats = seats(2, 2);
        let busy_seat = seats.take(ip("127.0.0.1")).unwrap();
        let busy = busy_seat.busy();
        let idle = seats.take(ip("127.0.0.1")).unwrap();
        let third = seats.take(ip("127.0.0.1")).unwrap();
        idle.is_over().await;
        assert!(!busy_seat.stop.is_cancelled());
        let _busy_too = third.busy();
        assert!(seats.take(ip("127.0.0.1")).is_none(), "nobody is idle");
        drop(busy);
        assert!(seats.take(ip("127.0.0.1")).is_some());
        busy_seat.is_over().await;
    }
}
