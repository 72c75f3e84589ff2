//! How much noise there is at each step.

mod names;
mod sigmas;
mod table;
mod training;

pub use names::{Schedule, UnknownSchedule};
pub use sigmas::sigmas;
pub use table::NoiseTable;
pub use training::TableError;
