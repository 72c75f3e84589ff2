//! The samplers. A new one is a file here and a line in `table.rs`.

mod ddim;
mod dpmpp_2m;
mod euler;
mod euler_ancestral;
mod sampler;
mod table;

pub use sampler::{Entry, Plan, Steps, World};
pub use table::{Sampler, UnknownSampler};
