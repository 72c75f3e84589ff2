//! Training: what of a model becomes variables, and the loss whose gradients they are given.
//!
//! A [`Trainee`] is a model in training by one [`Method`]. It computes the loss of a [`Batch`] and the
//! gradients of all its variables, hands out a [`Pipeline`](crate::Pipeline) that draws with the present
//! weights, and writes files that the rest of the engine reads. What it is shown is [`data`]'s business, what
//! gradients do to variables [`optim`]'s, and step after step [`run`]'s.

mod batch;
pub mod data;
mod error;
mod file;
mod full;
mod hypernetwork;
mod inversion;
mod lora;
mod method;
mod objective;
pub mod optim;
mod plan;
mod recompute;
pub mod run;
mod save;
mod trainee;

pub use batch::{Batch, Captions, MicroConditions};
pub use error::TrainError;
pub use file::SavePrecision;
pub use full::FullOptions;
pub use hypernetwork::HypernetworkOptions;
pub use inversion::TextualInversionOptions;
pub use lora::{LoraOptions, LoraShape, LoraTargets};
pub use method::Method;
pub use objective::{Objective, offset_noise};
pub use plan::{Group, NamedVar};
pub use recompute::GradientCheckpointing;
pub use trainee::Trainee;
