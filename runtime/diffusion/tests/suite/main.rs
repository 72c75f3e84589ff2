//! The engine against the golden tensors of the reference, and against bad input.
//!
//! `golden/make.py` wrote everything under `golden/`; these tests need neither Python nor a network.

mod golden;
mod hostile;
mod load;
mod networks;
mod pipeline;
mod random;
mod samplers;
mod schedule;
mod text;
