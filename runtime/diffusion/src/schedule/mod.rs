//! How much noise there is at each step.

mod align;
mod beta;
mod linspace;
mod names;
mod options;
mod sigmas;
mod table;
mod training;

pub use names::{Schedule, UnknownSchedule};
pub use options::{AlignedModel, SigmaOptions};
pub(crate) use sigmas::karras;
pub use sigmas::sigmas;
pub use table::NoiseTable;
pub use training::TableError;
