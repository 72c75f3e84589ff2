//! The seam to the diffusion engine. The worker loop knows only the traits of [`api`]; tests bring an engine of
//! their own, without weights.

mod api;
mod diffusion;
mod networks;
mod pool;
mod progress;
mod resources;

pub use api::{
    Engine, EngineError, LoadedModel, LoadedNetwork, ModelLabel, NamedNetwork, OnProgress, StepProgress,
};
pub use diffusion::DiffusionEngine;
pub use pool::{LoadStage, Loaded, ModelPool, PoolError, StateBoard};
pub use progress::Batches;
pub use resources::{memory_limit_bytes, size_thread_pool};
