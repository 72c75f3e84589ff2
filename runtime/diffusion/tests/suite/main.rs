//! The engine against the golden tensors of the reference, and against bad input.
//!
//! The scripts under `golden/` wrote everything there; these tests need neither Python nor a network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fuzz_prompt;
mod golden;
mod hostile;
mod load;
mod mixture;
mod networks;
mod parity;
mod pipeline;
mod prompt_grammar;
mod prompt_plan;
mod prompt_properties;
mod random;
mod samplers;
mod samplers_closed_form;
mod schedule;
mod text;
mod text_encoders;
mod text_families;
