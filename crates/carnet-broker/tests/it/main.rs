//! The broker over its real store and ledger.

mod forgetful;
