//! The engine against the golden tensors of the reference, and against bad input.
//!
//! `golden/make.py` wrote everything under `golden/`; these tests need neither Python nor a network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adapters;
mod adapters_files;
mod adapters_hypernetworks;
mod adapters_variants;
mod golden;
mod hostile;
mod load;
mod networks;
mod parity;
mod pipeline;
mod random;
mod samplers;
mod schedule;
mod text;
