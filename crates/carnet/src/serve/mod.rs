//! `carnet up`: broker and gateway in one process.

mod control;
mod inspect;
mod keys;
mod listener;
mod peer;
mod seats;
mod up;

pub(crate) use listener::certified;
pub(crate) use up::up;
