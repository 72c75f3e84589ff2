//! What gradients do to variables: optimisers, learning-rate schedules, clipping, averages.
//!
//! Plain arithmetic on slices of f32, in the order of the reference, so that a run repeats bit for bit.

mod adafactor;
mod adamw;
mod clip;
mod dynamic_map;
mod ema;
mod moments;
mod optimizer;
mod schedule;
mod sgd;
mod state;

pub use adafactor::Adafactor;
pub use adamw::AdamW;
pub use clip::{clip_factor, global_norm};
pub use dynamic_map::{BLOCK, DynamicMap};
pub use ema::EmaOptions;
pub use optimizer::{Algorithm, Optimizer, UnknownOptimizer};
pub use schedule::{Decay, LearningRate, UnknownDecay};
pub use sgd::Sgd;
pub use state::{Slot, SlotMut, State};
