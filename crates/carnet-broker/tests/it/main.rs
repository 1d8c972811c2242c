//! The broker over its real store and ledger.

mod approving;
mod brakes;
mod context;
mod delegating;
mod events;
mod federating;
mod forgetful;
mod gate;
mod house;
mod keys;
mod lasting;
mod marks;
mod opening;
mod operators;
mod privacy;
mod publishing;
mod reserving;
mod revoking;
mod simulation;
mod tokens;
mod unreadable;
