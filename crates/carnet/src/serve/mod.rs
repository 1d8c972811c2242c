//! `carnet up`: broker and gateway in one process.

mod control;
mod inspect;
mod keys;
mod listener;
mod seats;
mod up;

pub(crate) use listener::acceptor;
pub(crate) use up::up;
