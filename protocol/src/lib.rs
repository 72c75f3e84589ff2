//! What the parts of Easel say to one another: the normal form of a generation request, and the
//! worker protocol between facade and runtime. Plain data; no I/O, no Kubernetes, no tensors.

pub mod dataset;
pub mod failure;
pub mod generation;
pub mod import;
mod imported;
pub mod networks;
pub mod sampler;
pub mod training;
pub mod worker;

pub use failure::FailureReport;
pub use generation::{GenerationRequest, InvalidRequest, RequestLimits, Task};
pub use networks::{NetworkFile, NetworkKind, NetworkRef};
pub use sampler::{Sampler, Schedule};
