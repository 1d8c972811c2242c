//! The door: the last check before bytes leave, and the only way to get at them.

use std::sync::Arc;

use bytes::Bytes;
use carnet_core::{Permit, Reason};

use crate::control::Control;
use crate::live::{LiveGuard, LiveWork};
use crate::record::{Early, Noted, Pending, Recorded, Release, Ticket};

/// What may now be forwarded.
pub(crate) struct Passage {
    original: Bytes,
    underway: Underway,
}

/// An operation that was let through the door: its registration, which lets a revocation reach
/// it, and what its outcome is written under.
pub(crate) struct Underway {
    pub(crate) ticket: Ticket,
    pub(crate) guard: LiveGuard,
    withheld: Withheld,
}

/// What stands between the response and its release.
enum Withheld {
    Durable(Release),
    Pending(Pending),
}

/// A permit that did not pass: nothing was forwarded.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) reason: Reason,
    pub(crate) ticket: Box<Ticket>,
}

impl Passage {
    /// Passes a recorded permit, or a closed read whose record is in flight.
    pub(crate) fn open(
        control: &dyn Control,
        live: &Arc<LiveWork>,
        noted: Noted,
    ) -> Result<Self, Stopped> {
        match noted {
            Noted::Recorded(recorded) => Self::open_recorded(control, live, recorded),
            Noted::Early(early) => Self::open_early(control, live, early),
        }
    }

    fn open_recorded(
        control: &dyn Control,
        live: &Arc<LiveWork>,
        recorded: Recorded<Permit>,
    ) -> Result<Self, Stopped> {
        let checked = live.register_permit(recorded.permit(), || control.view(), || control.now());
        let (permit, ticket, release) = recorded.into_parts();
        Self::pass(checked, permit, ticket, Withheld::Durable(release))
    }

    fn open_early(
        control: &dyn Control,
        live: &Arc<LiveWork>,
        early: Early,
    ) -> Result<Self, Stopped> {
        let checked = live.register_permit(early.permit(), || control.view(), || control.now());
        let (permit, ticket, pending) = early.into_parts();
        Self::pass(checked, permit, ticket, Withheld::Pending(pending))
    }

    fn pass(
        checked: Result<LiveGuard, Reason>,
        permit: Permit,
        ticket: Ticket,
        withheld: Withheld,
    ) -> Result<Self, Stopped> {
        match checked {
            Ok(guard) => {
                let original = permit.into_original();
                Ok(Self { original, underway: Underway { ticket, guard, withheld } })
            }
            Err(reason) => Err(Stopped { reason, ticket: Box::new(ticket) }),
        }
    }

    /// The bytes to forward, once, and what is left to do about them.
    pub(crate) fn into_parts(self) -> (Bytes, Underway) {
        (self.original, self.underway)
    }
}

impl Underway {
    /// Waits until the decision is durable, then hands over what the release of a response needs.
    pub(crate) async fn release(self) -> Result<Released, Stopped> {
        let Self { ticket, guard, withheld } = self;
        let release = match withheld {
            Withheld::Durable(release) => Ok(release),
            Withheld::Pending(pending) => pending.durable().await,
        };
        match release {
            Ok(release) => Ok(Released { ticket, guard, _release: release }),
            Err(reason) => Err(Stopped { reason, ticket: Box::new(ticket) }),
        }
    }
}

/// An operation whose response may be released: its decision is durable.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) ticket: Ticket,
    pub(crate) guard: LiveGuard,
    _release: Release,
}
