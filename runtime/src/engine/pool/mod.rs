//! What is in memory: checkpoints, and the networks that requests bring in.

mod entries;
mod error;
mod models;
mod networks;
mod states;

pub use error::PoolError;
pub use models::{LoadStage, Loaded, ModelPool};
pub use states::StateBoard;
