//! The engine against the golden tensors of the reference, and against bad input.
//!
//! The scripts under `golden/` wrote everything there; these tests need neither Python nor a network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adapters;
mod adapters_families;
mod adapters_files;
mod adapters_hypernetworks;
mod adapters_variants;
mod batching;
mod control;
mod convert;
mod families;
mod families_model;
mod families_pickle;
mod fuzz_pickle;
mod fuzz_png;
mod fuzz_prompt;
mod fuzz_safetensors;
mod golden;
mod hostile;
mod inspect;
mod load;
mod merge;
mod mixture;
mod modes;
mod modes_families;
mod networks;
mod optim;
mod parity;
mod pipeline;
mod preprocess;
mod prompt_grammar;
mod prompt_plan;
mod prompt_properties;
mod random;
mod raster;
mod samplers;
mod samplers_closed_form;
mod schedule;
mod text;
mod text_encoders;
mod text_families;
mod torch;
mod train;
mod train_files;
mod train_model;
mod train_recompute;
mod train_resume;
