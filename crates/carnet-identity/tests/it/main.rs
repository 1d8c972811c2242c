//! What the world may try with tokens, and what stops it.

mod cases;
mod checklist;
mod confusion;
mod corpus;
mod delegation;
mod federation;
mod flips;
mod foreign;
mod forge;
mod golden;
mod interop;
mod keys;
mod proofs;
mod serialisations;
mod signatures;
mod stranger;
mod tokens;
mod x509;
